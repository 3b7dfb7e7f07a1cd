//! A server that answers everything at once and keeps what it was asked, to the byte.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

/// A connection that says nothing for this long is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// What our own verification asks for, which is no part of a load.
const VERIFICATION: &str = "The quick brown fox";

pub struct Recorder {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    tokenizer: PathBuf,
    /// Paths and bodies of requests for a generation, in the order of their arrival.
    asked: Mutex<Vec<(String, String)>>,
    /// Heads of the same.
    heads: Mutex<Vec<String>>,
    /// Every request for a generation of this number or a later one is refused.
    refuses_from: usize,
    over: AtomicBool,
}

impl Recorder {
    /// Starts it; it says that its model is in the folder `tokenizer`.
    pub fn start(tokenizer: &Path) -> Self {
        Self::refusing(tokenizer, usize::MAX)
    }

    /// The same, refusing every generation from this one on.
    pub fn refusing(tokenizer: &Path, refuses_from: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            tokenizer: tokenizer.to_owned(),
            asked: Mutex::default(),
            heads: Mutex::default(),
            refuses_from,
            over: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                if accepting.over.load(Ordering::Relaxed) {
                    break;
                }
                let Ok(connection) = connection else { continue };
                let shared = Arc::clone(&accepting);
                std::thread::spawn(move || shared.serve(connection));
            }
        });
        Self { address, shared }
    }

    pub fn port(&self) -> String {
        self.address.port().to_string()
    }

    /// Bodies of the generations that were asked for, in the order of their arrival.
    pub fn bodies(&self) -> Vec<String> {
        self.shared
            .asked
            .lock()
            .unwrap()
            .iter()
            .map(|(path, body)| format!("{path} {body}"))
            .collect()
    }

    /// Heads of the generations that were asked for.
    pub fn heads(&self) -> Vec<String> {
        self.shared.heads.lock().unwrap().clone()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        // Wakes the loop, so that it sees that it is over.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    /// One request a connection; whatever goes wrong ends it, and the client sees that.
    fn serve(&self, mut connection: TcpStream) -> Option<()> {
        connection.set_read_timeout(Some(PATIENCE)).ok()?;
        let mut reader = BufReader::new(connection.try_clone().ok()?);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
        });
        let mut body = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut body).ok()?;
        let body = String::from_utf8(body).ok()?;
        let path = head.split(' ').nth(1)?.to_owned();
        let (status, kind, answer) = self.answer(&path, &head, &body);
        let answer = format!(
            "HTTP/1.1 {status} Answer\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{answer}",
            answer.len()
        );
        connection.write_all(answer.as_bytes()).ok()
    }

    fn answer(&self, path: &str, head: &str, body: &str) -> (u16, &'static str, String) {
        let json = |value: Value| (200, "application/json", value.to_string());
        match path.split('?').next().unwrap_or(path) {
            "/v1/models" => json(json!({"data": [{"id": "recorded"}]})),
            "/model_info" => json(json!({"model_path": self.tokenizer})),
            "/generate" | "/v1/completions" | "/v1/chat/completions" => {
                if !body.contains(VERIFICATION) {
                    let mut asked = self.asked.lock().unwrap();
                    asked.push((path.to_owned(), body.to_owned()));
                    self.heads.lock().unwrap().push(head.to_owned());
                    if self.refuses_from < asked.len() {
                        return (500, "text/plain", "no more".to_owned());
                    }
                }
                generation(path, &serde_json::from_str(body).expect("a body is JSON"))
            }
            _ => json(json!({})),
        }
    }
}

/// As many tokens as were asked for, counted in the last event.
fn generation(path: &str, body: &Value) -> (u16, &'static str, String) {
    let limits = [
        &body["sampling_params"]["max_new_tokens"],
        &body["max_tokens"],
        &body["max_completion_tokens"],
    ];
    let n = limits.into_iter().find_map(Value::as_u64).expect("a length");
    let usage = json!({"prompt_tokens": 5, "completion_tokens": n});
    let finish = |last: bool| if last { json!("length") } else { Value::Null };
    let event = |text: String, count: u64, whole: bool| {
        let last = count == n;
        let usage = if last { usage.clone() } else { Value::Null };
        match path {
            "/generate" => json!({"text": text, "meta_info": {
                "prompt_tokens": 5, "completion_tokens": count,
                "finish_reason": if last { json!({"type": "length"}) } else { Value::Null },
            }}),
            "/v1/completions" => {
                json!({"choices": [{"text": text, "finish_reason": finish(last)}], "usage": usage})
            }
            _ => {
                let part = if whole { "message" } else { "delta" };
                json!({"choices": [{part: {"content": text}, "finish_reason": finish(last)}], "usage": usage})
            }
        }
    };
    if body["stream"] == json!(false) {
        let text = " a".repeat(usize::try_from(n).unwrap());
        return (200, "application/json", event(text, n, true).to_string());
    }
    let cumulative = path == "/generate";
    let events = (1..=n).map(|count| {
        let text = " a".repeat(if cumulative { usize::try_from(count).unwrap() } else { 1 });
        format!("data: {}\n\n", event(text, count, false))
    });
    (200, "text/event-stream", events.collect::<String>() + "data: [DONE]\n\n")
}
