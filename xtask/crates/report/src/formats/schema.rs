//! JSON Schema, as `schemars` makes it from our types, as Markdown.

use serde_json::{Map, Value};

/// A definition with its heading: fields of an object, values of a list, or variants.
pub(super) fn section(name: &str, definition: &Value) -> String {
    let tables = [fields(definition), variants(definition)];
    let tables: Vec<String> = tables.into_iter().filter(|table| !table.is_empty()).collect();
    let tables = match tables.as_slice() {
        [] => format!("In files: {}.\n", type_of(definition)),
        tables => tables.join("\n"),
    };
    let meaning = match meaning(definition).as_str() {
        "" => String::new(),
        meaning => format!("{meaning}\n\n"),
    };
    format!("\n### {name}\n\n{meaning}{tables}")
}

/// One row a field, required ones in the order of the type.
fn fields(definition: &Value) -> String {
    let Some(properties) = definition["properties"].as_object() else { return String::new() };
    let row = |(name, field): (&str, &Value)| {
        let type_of = if is_required(definition, name) {
            type_of(field)
        } else {
            // A field that is left out is never written as null.
            format!("{}, or absent", type_of(field).trim_end_matches(" or null"))
        };
        format!("| `{name}` | {type_of} | {} |\n", meaning(field))
    };
    let rows: String = ordered(definition, properties).map(row).collect();
    format!("| field | type | meaning |\n| --- | --- | --- |\n{rows}")
}

/// One row a value of a closed list, or a variant with its fields.
fn variants(definition: &Value) -> String {
    let Some(variants) = definition["oneOf"].as_array() else { return String::new() };
    if variants.iter().all(|variant| variant.get("description").is_none()) {
        return String::new();
    }
    if variants.iter().all(|variant| variant["const"].is_string()) {
        let row = |value: &Value| format!("| `{}` | {} |\n", text(&value["const"]), meaning(value));
        let rows: String = variants.iter().map(row).collect();
        return format!("| value | meaning |\n| --- | --- |\n{rows}");
    }
    let rows: String = variants.iter().map(variant).collect();
    format!("| variant | fields | meaning |\n| --- | --- | --- |\n{rows}")
}

fn variant(definition: &Value) -> String {
    let Some(properties) = definition["properties"].as_object() else { return String::new() };
    let is_tag = |field: &Value| field.get("const").is_some();
    let tag = properties.iter().find(|(_, field)| is_tag(field));
    let name = match tag {
        Some((tag, field)) => format!("`\"{tag}\": \"{}\"`", text(&field["const"])),
        None => {
            let keys: Vec<String> = properties.keys().map(|key| format!("`\"{key}\"`")).collect();
            keys.join(", ")
        }
    };
    let described = |(name, field): (&str, &Value)| match meaning(field).as_str() {
        "" => format!("`{name}` ({})", type_of(field)),
        meaning => format!("`{name}` ({}): {meaning}", type_of(field)),
    };
    let fields = ordered(definition, properties).filter(|(_, field)| !is_tag(field));
    let fields: Vec<String> = fields.map(described).collect();
    format!("| {name} | {} | {} |\n", fields.join("<br>"), meaning(definition))
}

/// Required fields in the order in which the type declares them, then the others by name.
fn ordered<'a>(
    definition: &'a Value,
    properties: &'a Map<String, Value>,
) -> impl Iterator<Item = (&'a str, &'a Value)> {
    let required = definition["required"].as_array().into_iter().flatten();
    let required = required.filter_map(Value::as_str);
    let required = required.filter_map(|name| Some((name, properties.get(name)?)));
    let others = properties.iter().map(|(name, field)| (name.as_str(), field));
    required.chain(others.filter(|(name, _)| !is_required(definition, name)))
}

fn is_required(definition: &Value, name: &str) -> bool {
    let mut required = definition["required"].as_array().into_iter().flatten();
    required.any(|required| required == name)
}

/// A type in words; types of ours are links to their section.
fn type_of(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        return format!("[{name}](#{})", name.to_lowercase());
    }
    if let Some(either) = schema["anyOf"].as_array() {
        let names: Vec<String> = either.iter().map(type_of).collect();
        return names.join(" or ");
    }
    match &schema["type"] {
        Value::String(name) => named_type(name, schema),
        Value::Array(names) => {
            let names = names.iter().filter_map(Value::as_str);
            names.map(|name| named_type(name, schema)).collect::<Vec<_>>().join(" or ")
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            "any JSON value".to_owned()
        }
    }
}

/// A type by its name in JSON Schema.
fn named_type(name: &str, schema: &Value) -> String {
    match name {
        "integer" => "whole number".to_owned(),
        "boolean" => "true or false".to_owned(),
        "string" => "text".to_owned(),
        "array" => match schema["prefixItems"].as_array() {
            Some(items) => {
                let items: Vec<String> = items.iter().map(type_of).collect();
                format!("list of {}", items.join(" and "))
            }
            None => format!("list of {}", type_of(&schema["items"])),
        },
        "object" if schema["additionalProperties"].is_object() => {
            format!("map to {}", type_of(&schema["additionalProperties"]))
        }
        other => other.to_owned(),
    }
}

/// The doc comment on one line; its links to Rust items are plain names here.
fn meaning(schema: &Value) -> String {
    let words: Vec<&str> = text(&schema["description"]).split_whitespace().collect();
    words.join(" ").replace("[`", "`").replace("`]", "`").replace('|', "\\|")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}
