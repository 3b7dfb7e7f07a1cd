//! One look at each rung of the ladder.

use std::time::{Duration, Instant};

use domain::facts::{Capabilities, Rung, RungOutcome};
use domain::framework::Wire;
use serde_json::Value;
use skill::setup::Verify;
use tokio::net::TcpStream;

use crate::cache::flush_once;
use crate::control::{Answer, Endpoint};
use crate::frameworks::{Activity, Generation, ModelList, traits};
use crate::generation::{Ask, Generated, Length, Usage, generate};
use crate::look::{Look, Time};
use crate::procfs;
use crate::started::Started;

/// Where a model that Ollama runs lies, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Residence {
    size: u64,
    vram: u64,
}

impl Residence {
    /// What `/api/ps` says of a model.
    fn of(told: &Value, model: &str) -> Option<Self> {
        let models = told.get("models")?.as_array()?;
        let named = |one: &&Value| {
            let name = one.get("name").and_then(Value::as_str);
            name.is_some_and(|name| name == model || name.strip_suffix(":latest") == Some(model))
        };
        let one = models.iter().find(named)?;
        Some(Self { size: one.get("size")?.as_u64()?, vram: one.get("size_vram")?.as_u64()? })
    }
}

/// What is known on the way up.
#[derive(Debug)]
pub(crate) struct Climber<'a> {
    endpoint: &'a Endpoint,
    limits: &'a Verify,
    /// Absent when attached.
    started: Option<Started>,
    /// Found by the rung `model`.
    model: Option<String>,
    /// Ways to ask for a generation that were not refused yet, the best first.
    asks: Vec<Ask>,
    capabilities: Capabilities,
    warmed_up: u32,
    quiet_since: Option<Instant>,
}

impl<'a> Climber<'a> {
    pub(crate) fn new(
        endpoint: &'a Endpoint,
        limits: &'a Verify,
        started: Option<Started>,
    ) -> Self {
        let asks = asks(traits(endpoint.framework()).generation);
        let model = endpoint.model().map(str::to_owned);
        // Nothing is taken for granted that was not seen.
        let capabilities =
            Capabilities { forces_length: false, reports_usage: false, flushes_cache: false };
        let (warmed_up, quiet_since) = (0, None);
        Self { endpoint, limits, started, model, asks, capabilities, warmed_up, quiet_since }
    }

    /// The model to put into requests: the one found, else the one named.
    pub(crate) fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    pub(crate) const fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// Looks at one rung once.
    pub(crate) async fn look(&mut self, rung: Rung, time: &Time) -> Look {
        match rung {
            Rung::Process => self.process(),
            Rung::Port => self.port(time).await,
            Rung::Health => self.health(time).await,
            Rung::Model => self.served_model(time).await,
            Rung::Generation => self.generation(time).await,
            Rung::WarmUp => self.warm_up(time).await,
            Rung::Flush => flush_once(self.endpoint, self.name(), time).await,
            Rung::Idle => self.idle(time).await,
        }
    }

    fn name(&self) -> &str {
        self.model.as_deref().unwrap_or_default()
    }

    /// That it lives on is watched all the way up.
    fn process(&self) -> Look {
        let Some(Started { pid, .. }) = self.started else {
            return Look::not_available("attached to a server that was not started here");
        };
        match procfs::stat(pid) {
            Some(stat) if !stat.is_zombie() => Look::passed(format!("process {pid}")),
            Some(_) | None => Look::Again(format!("process {pid} has ended")),
        }
    }

    async fn port(&self, time: &Time) -> Look {
        let Some((host, port)) = self.endpoint.address() else {
            return Look::failed(format!("`{}` names no port", self.endpoint.url()));
        };
        match tokio::time::timeout(time.request(), TcpStream::connect((&*host, port))).await {
            Err(_) => Look::Again("no connection in time".to_owned()),
            Ok(Err(error)) => Look::Again(error.to_string()),
            Ok(Ok(_)) => self.own_port(port),
        }
    }

    /// Whether the port is held by the server that was started, and not by somebody who was
    /// faster.
    fn own_port(&self, port: u16) -> Look {
        match self.started.as_ref().and_then(|started| started.stranger(port)) {
            None => Look::passed(format!("port {port} accepts connections")),
            Some(holder) => {
                Look::failed(format!("port {port} is held by {holder}, not by the server"))
            }
        }
    }

    async fn health(&self, time: &Time) -> Look {
        let path = traits(self.endpoint.framework()).health_path;
        match self.endpoint.get(path, time.request()).await {
            Ok(answer) if answer.is_ok() => Look::passed(format!("`{path}` answers 200")),
            Ok(answer) => Look::Again(answer.shown()),
            Err(error) => Look::Again(error.to_string()),
        }
    }

    async fn served_model(&mut self, time: &Time) -> Look {
        let list = traits(self.endpoint.framework()).models;
        let path = match list {
            ModelList::Openai => "/v1/models",
            ModelList::Ollama => "/api/tags",
            ModelList::Untold => return self.untold_model(),
        };
        let answer = match self.endpoint.get(path, time.request()).await {
            Ok(answer) if answer.is_ok() => answer,
            Ok(answer) => return Look::Again(answer.shown()),
            Err(error) => return Look::Again(error.to_string()),
        };
        let Some(served) = model_ids(&answer, list) else {
            return Look::failed(format!("`{path}` is no list of models: {}", answer.shown()));
        };
        match choose_model(&served, self.endpoint.model(), list) {
            Ok(model) => {
                let seen = format!("serves `{model}`");
                self.model = Some(model);
                Look::passed(seen)
            }
            Err(seen) => Look::failed(seen),
        }
    }

    /// Where models are not listed, asking for a generation under the name proves it.
    fn untold_model(&self) -> Look {
        match &self.model {
            Some(model) => Look::passed(format!("lists no models; is asked for `{model}`")),
            None => Look::failed("lists no models, and none is named"),
        }
    }

    async fn generation(&mut self, time: &Time) -> Look {
        let Some(&ask) = self.asks.first() else {
            return Look::failed("no way to ask for a generation is known");
        };
        let tokens = self.limits.generation_tokens;
        // The first one may compile kernels, so it has all of the rung's time.
        match generate(self.endpoint, self.name(), tokens, ask, time.left()).await {
            Ok(generated) => {
                let kind = traits(self.endpoint.framework()).generation;
                self.capabilities.forces_length =
                    ask.length == Length::Forced && generated.tokens == Some(tokens.into());
                self.capabilities.reports_usage = generated.tokens.is_some();
                match weigh(kind, tokens, &generated) {
                    RungOutcome::Passed(seen) if kind == Generation::Ollama => {
                        self.residence(seen, time).await
                    }
                    outcome => Look::Done(outcome),
                }
            }
            Err(error) if error.is_refusal() && 1 < self.asks.len() => {
                self.asks.remove(0);
                Look::GoOn
            }
            Err(error) if error.may_pass() => Look::Again(error.to_string()),
            Err(error) => Look::failed(error.to_string()),
        }
    }

    /// Ollama puts what finds no room on the GPU onto the CPU, without a word, and is slow.
    async fn residence(&self, seen: String, time: &Time) -> Look {
        let answer = match self.endpoint.get("/api/ps", time.request()).await {
            Ok(answer) if answer.is_ok() => answer,
            Ok(answer) => return Look::Again(answer.shown()),
            Err(error) => return Look::Again(error.to_string()),
        };
        let on_gpu = self.started.as_ref().is_some_and(|started| started.on_gpu);
        match answer.json().and_then(|told| Residence::of(&told, self.name())) {
            None => Look::failed(format!("`/api/ps` does not list `{}`", self.name())),
            Some(Residence { size, vram }) if vram == size => {
                Look::passed(format!("{seen}; all of the model is on the GPU"))
            }
            Some(Residence { vram: 0, .. }) if !on_gpu => {
                Look::passed(format!("{seen}; the model is on the CPU"))
            }
            Some(Residence { size, vram }) => Look::failed(format!(
                "only {} of {} MiB of the model are on the GPU",
                vram >> 20,
                size >> 20
            )),
        }
    }

    async fn warm_up(&mut self, time: &Time) -> Look {
        let wanted = self.limits.warm_up_requests;
        if wanted <= self.warmed_up {
            return Look::passed(format!("{wanted} requests answered"));
        }
        let Some(&ask) = self.asks.first() else {
            return Look::failed("no way to ask for a generation is known");
        };
        let tokens = self.limits.generation_tokens;
        match generate(self.endpoint, self.name(), tokens, ask, time.left()).await {
            Ok(generated) => {
                self.warmed_up += 1;
                let kind = traits(self.endpoint.framework()).generation;
                match weigh(kind, tokens, &generated) {
                    RungOutcome::Passed(_) => Look::GoOn,
                    wrong @ (RungOutcome::Failed(_) | RungOutcome::NotAvailable(_)) => {
                        Look::Done(wrong)
                    }
                }
            }
            Err(error) if error.may_pass() => Look::Again(error.to_string()),
            Err(error) => Look::failed(error.to_string()),
        }
    }

    async fn idle(&mut self, time: &Time) -> Look {
        let gauges = match traits(self.endpoint.framework()).activity {
            Activity::Untold => return self.untold_idle(time).await,
            Activity::Gauges(names) => names,
        };
        let busy = match self.endpoint.get("/metrics", time.request()).await {
            Ok(answer) if answer.is_ok() => gauge_sum(&answer.body, gauges),
            // Metrics are an option of some servers, and may be off where we attached.
            Ok(answer) if answer.status < 500 => None,
            Ok(answer) => return Look::Again(answer.shown()),
            Err(error) => return Look::Again(error.to_string()),
        };
        let Some(busy) = busy else { return self.untold_idle(time).await };
        if 0.0 < busy {
            self.quiet_since = None;
            return Look::Again(format!("{busy} requests run or wait"));
        }
        let quiet_for = self.limits.quiet_for;
        if quiet_for.0 <= self.quiet_since.get_or_insert_with(Instant::now).elapsed() {
            return Look::passed(format!("nothing ran and nothing waited for {quiet_for}"));
        }
        Look::Again(format!("quiet for less than {quiet_for}"))
    }

    /// A server that does not tell is left alone for as long as it would have to be quiet.
    async fn untold_idle(&self, time: &Time) -> Look {
        let pause: Duration = self.limits.quiet_for.0.min(time.left());
        tokio::time::sleep(pause).await;
        Look::not_available("the server does not tell what runs; it was left alone instead")
    }
}

/// The ways to ask, the one that gives the best measurement first.
fn asks(kind: Generation) -> Vec<Ask> {
    let ask = |wire, length, usage| Ask { wire, length, usage };
    let (completions, chat) = (Wire::OpenaiCompletions, Wire::OpenaiChat);
    match kind {
        Generation::ForcedCompletions => vec![ask(completions, Length::Forced, Usage::Wanted)],
        Generation::Ollama => vec![ask(Wire::OllamaGenerate, Length::AtMost, Usage::NotAsked)],
        Generation::TriedOut => vec![
            ask(completions, Length::Forced, Usage::Wanted),
            ask(completions, Length::AtMost, Usage::Wanted),
            ask(completions, Length::AtMost, Usage::NotAsked),
            ask(chat, Length::Forced, Usage::Wanted),
            ask(chat, Length::AtMost, Usage::Wanted),
            ask(chat, Length::AtMost, Usage::NotAsked),
        ],
    }
}

/// Whether what came is what such a server must give.
fn weigh(kind: Generation, asked: u32, generated: &Generated) -> RungOutcome {
    let first = match generated.first_after {
        Some(after) => format!("the first after {} ms", after.as_millis()),
        None => "none of them with text".to_owned(),
    };
    let asked = u64::from(asked);
    match (generated.tokens, kind) {
        (Some(0), _) => RungOutcome::Failed("the server counted no token".to_owned()),
        (None, _) if generated.pieces == 0 => {
            RungOutcome::Failed("the stream had neither text nor a token count".to_owned())
        }
        (Some(counted), _) if asked < counted => RungOutcome::Failed(format!(
            "at most {asked} tokens were asked for, the server counted {counted}"
        )),
        (Some(counted), Generation::ForcedCompletions) if counted != asked => RungOutcome::Failed(
            format!("exactly {asked} tokens were asked for, the server counted {counted}"),
        ),
        (None, Generation::ForcedCompletions) => RungOutcome::Failed(
            "the stream had no token count although it was asked for".to_owned(),
        ),
        (Some(counted), _) => RungOutcome::Passed(format!("{counted} of {asked} tokens, {first}")),
        (None, Generation::TriedOut | Generation::Ollama) => RungOutcome::Passed(format!(
            "{} pieces of text without a token count, {first}",
            generated.pieces
        )),
    }
}

fn model_ids(answer: &Answer, list: ModelList) -> Option<Vec<String>> {
    let (array, key) = match list {
        ModelList::Openai => ("data", "id"),
        ModelList::Ollama => ("models", "name"),
        ModelList::Untold => return None,
    };
    let json = answer.json()?;
    let entries = json.get(array)?.as_array()?;
    Some(entries.iter().filter_map(|entry| entry.get(key)?.as_str()).map(str::to_owned).collect())
}

fn choose_model(
    served: &[String],
    wanted: Option<&str>,
    list: ModelList,
) -> Result<String, String> {
    let same = |served: &str, wanted: &str| match list {
        ModelList::Openai | ModelList::Untold => served == wanted,
        // A tag may be left out.
        ModelList::Ollama => served == wanted || served.strip_suffix(":latest") == Some(wanted),
    };
    match (served, wanted) {
        ([], _) => Err("serves no model".to_owned()),
        ([only], None) => Ok(only.clone()),
        (several, None) => Err(format!("serves several models: {}; name one", several.join(", "))),
        (served, Some(wanted)) => served
            .iter()
            .find(|one| same(one, wanted))
            .cloned()
            .ok_or_else(|| format!("serves {}, where `{wanted}` is wanted", served.join(", "))),
    }
}

/// Sum of the gauges in Prometheus' text form; `None` unless each name occurs.
pub(crate) fn gauge_sum(text: &str, names: &[&str]) -> Option<f64> {
    let sums = names.iter().map(|name| {
        let values: Vec<f64> = text.lines().filter_map(|line| gauge(line, name)).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>())
    });
    sums.sum()
}

/// The value of `name{labels} value`.
fn gauge(line: &str, name: &str) -> Option<f64> {
    let rest = line.strip_prefix(name)?;
    let value = match rest.strip_prefix('{') {
        Some(labels) => labels.rsplit_once('}')?.1,
        None => rest.strip_prefix(' ')?,
    };
    value.split_ascii_whitespace().next().map(str::parse::<Value>)?.ok()?.as_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generated(tokens: Option<u64>, pieces: u64) -> Generated {
        Generated { tokens, pieces, first_after: Some(Duration::from_millis(12)) }
    }

    fn seen(kind: Generation, tokens: Option<u64>, pieces: u64) -> String {
        match weigh(kind, 8, &generated(tokens, pieces)) {
            RungOutcome::Passed(seen) => format!("passed: {seen}"),
            RungOutcome::Failed(seen) => format!("failed: {seen}"),
            RungOutcome::NotAvailable(seen) => format!("not available: {seen}"),
        }
    }

    #[test]
    fn a_server_that_can_force_the_length_must_give_it_exactly() {
        use Generation::ForcedCompletions as Forced;
        insta::assert_snapshot!(seen(Forced, Some(8), 8), @"passed: 8 of 8 tokens, the first after 12 ms");
        insta::assert_snapshot!(seen(Forced, Some(7), 7), @"failed: exactly 8 tokens were asked for, the server counted 7");
        insta::assert_snapshot!(seen(Forced, Some(9), 8), @"failed: at most 8 tokens were asked for, the server counted 9");
        insta::assert_snapshot!(seen(Forced, None, 8), @"failed: the stream had no token count although it was asked for");
    }

    #[test]
    fn other_servers_must_give_at_least_a_token() {
        for kind in [Generation::TriedOut, Generation::Ollama] {
            assert!(seen(kind, Some(3), 3).starts_with("passed"));
            assert!(seen(kind, None, 3).starts_with("passed"));
            assert!(seen(kind, Some(0), 0).starts_with("failed"));
            assert!(seen(kind, None, 0).starts_with("failed"));
            assert!(seen(kind, Some(9), 9).starts_with("failed"));
        }
    }

    #[test]
    fn the_model_must_be_the_one_wanted_or_the_only_one() {
        let served = ["a".to_owned(), "b:latest".to_owned()];
        let choose = |wanted, list| choose_model(&served, wanted, list);
        assert_eq!(choose(Some("a"), ModelList::Openai).unwrap(), "a");
        assert_eq!(choose(Some("b"), ModelList::Ollama).unwrap(), "b:latest");
        insta::assert_snapshot!(choose(Some("b"), ModelList::Openai).unwrap_err(), @"serves a, b:latest, where `b` is wanted");
        insta::assert_snapshot!(choose(None, ModelList::Openai).unwrap_err(), @"serves several models: a, b:latest; name one");
        assert_eq!(choose_model(&served[..1], None, ModelList::Openai).unwrap(), "a");
        assert_eq!(choose_model(&[], None, ModelList::Openai).unwrap_err(), "serves no model");
    }

    #[test]
    fn a_model_that_is_not_wholly_on_the_gpu_is_found_under_its_tag() {
        let told = serde_json::json!({"models": [
            {"name": "other:7b", "size": 1, "size_vram": 1},
            {"name": "qwen:latest", "size": 9_000_000, "size_vram": 4_000_000},
        ]});
        let partly = Residence { size: 9_000_000, vram: 4_000_000 };
        assert_eq!(Residence::of(&told, "qwen"), Some(partly));
        assert_eq!(Residence::of(&told, "qwen:latest"), Some(partly));
        assert_eq!(Residence::of(&told, "none"), None);
    }

    #[test]
    fn gauges_are_summed_over_their_labels_and_none_may_be_missing() {
        let text = "# HELP vllm:num_requests_running x\n\
            vllm:num_requests_running{engine=\"0\",model_name=\"a b}\"} 2.0\n\
            vllm:num_requests_running{engine=\"1\"} 1.0\n\
            vllm:num_requests_running_total{engine=\"1\"} 9.0\n\
            llamacpp:requests_processing 4\n";
        assert_eq!(gauge_sum(text, &["vllm:num_requests_running"]), Some(3.0));
        let both = ["llamacpp:requests_processing", "vllm:num_requests_running"];
        assert_eq!(gauge_sum(text, &both), Some(7.0));
        assert_eq!(gauge_sum(text, &["llamacpp:requests_processing", "gone"]), None);
    }
}
