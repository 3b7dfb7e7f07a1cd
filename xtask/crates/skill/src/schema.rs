//! The JSON Schema of skill files, so that editors complete and check them.

use serde_json::Value;

use crate::skill::Skill;

/// The schema, with the documentation of the types as descriptions.
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(Skill);
    schema.insert("title".to_owned(), "A skill of servegate".into());
    schema.to_value()
}
