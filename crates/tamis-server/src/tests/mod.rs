//! Tests over real connections: a service on a free port, a real engine in a fresh directory, a client of a few lines.

mod bulk;
mod collections;
mod documents;
mod encode;
mod failures;
mod lifecycle;
mod search;
mod service;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use actix_web::web::Data;
use serde_json::{Value, json};
use tamis_engine::Engine;
use tempfile::TempDir;

use crate::state::State;
use crate::{Error, Server, ServerHandle, ServerOptions};

/// A running service; dropping it ends it.
struct Running {
    addr: SocketAddr,
    handle: ServerHandle,
    state: Data<State>,
    thread: Option<JoinHandle<Result<(), Error>>>,
    directory: Arc<TempDir>,
}

/// An answer, read to the end of the connection.
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

/// Options for tests: any free port, few threads.
fn options() -> ServerOptions {
    ServerOptions {
        port: 0,
        workers: 2,
        ..ServerOptions::default()
    }
}

/// Opens an engine. Worker threads of a service that has ended in this process may hold the lock a moment longer.
fn open_released(directory: &Path) -> Engine {
    let begun = Instant::now();
    loop {
        match Engine::open(directory) {
            Err(tamis_engine::Error::Locked { .. }) if begun.elapsed() < Duration::from_secs(10) => {
                std::thread::sleep(Duration::from_millis(10));
            }
            opened => return opened.expect("the engine opens"),
        }
    }
}

impl Running {
    /// A service without collections.
    fn start(options: ServerOptions) -> Self {
        Self::start_in(Arc::new(TempDir::new().expect("a fresh directory")), options)
    }

    /// A service over the collections of `directory`.
    fn start_in(directory: Arc<TempDir>, options: ServerOptions) -> Self {
        let engine = Arc::new(open_released(directory.path()));
        let server = Server::bind(options, engine).expect("a free port");
        let (addr, handle, state) = (server.addr(), server.handle(), server.state());
        let thread = Some(std::thread::spawn(move || server.run()));
        Self {
            addr,
            handle,
            state,
            thread,
            directory,
        }
    }

    /// A service with the collection `books` of three committed documents.
    fn with_books() -> Self {
        Self::with_books_and(options())
    }

    fn with_books_and(options: ServerOptions) -> Self {
        let running = Self::start(options);
        let made = running.post(
            "/v1/collections",
            &json!({"name": "books", "model": "lexical", "fields": {"year": "integer", "lang": "keyword"}}),
        );
        assert_eq!(made.status, 201, "{}", made.text());
        let added = running.post(
            "/v1/collections/books/documents?refresh=true",
            &json!([
                {"id": "sieve", "title": "The tamis", "text": "A tamis is a fine drum sieve for flour and purées.", "year": 1998, "lang": "fr"},
                {"id": "bees", "title": "Bees", "text": "Bees find their way home by the sun and by landmarks.", "year": 2004, "lang": "en"},
                {"id": "bread", "title": "Bread", "text": "Flour, water and time: yeast makes bread rise.", "year": 2012, "lang": "en"},
            ]),
        );
        assert_eq!(added.json()["accepted"], 3, "{}", added.text());
        running
    }

    /// Ends the service and says how it ended.
    fn stop(mut self) -> Result<(), Error> {
        self.handle.stop();
        self.join()
    }

    fn join(&mut self) -> Result<(), Error> {
        self.thread
            .take()
            .map_or(Ok(()), |thread| thread.join().expect("the service does not panic"))
    }

    /// Sends raw bytes and reads the answer.
    fn raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.addr).expect("the service listens");
        // The service may answer, and close, before it has read everything.
        let _ = stream.write_all(bytes);
        Answer::read(&mut stream)
    }

    fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.raw(&self.request(method, path, headers, body))
    }

    /// The bytes of a request.
    fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
        let mut bytes = format!(
            "{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n",
            body.len()
        );
        if !headers.iter().any(|(name, _)| *name == "host") {
            bytes.push_str(&format!("host: {}\r\n", self.addr));
        }
        for (name, value) in headers {
            bytes.push_str(&format!("{name}: {value}\r\n"));
        }
        bytes.push_str("\r\n");
        [bytes.as_bytes(), body].concat()
    }

    fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(
            "POST",
            path,
            &[("content-type", "application/json")],
            body.to_string().as_bytes(),
        )
    }

    fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, &[], b"")
    }

    /// The ids of the hits of a search.
    fn ids(&self, body: &Value) -> Vec<String> {
        let answer = self.post("/v1/collections/books/search", body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = answer.json();
        let hits = answer["hits"].as_array().expect("hits");
        hits.iter()
            .map(|hit| hit["id"].as_str().expect("an id").to_owned())
            .collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.stop();
        let ended = self.join();
        if !std::thread::panicking() {
            ended.expect("the service ends cleanly");
        }
    }
}

impl Answer {
    fn read(stream: &mut TcpStream) -> Self {
        let mut bytes = Vec::new();
        // A connection that is reset after the answer still gave the answer.
        let _ = stream.read_to_end(&mut bytes);
        let end = bytes
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .expect("the answer has a head");
        let head = String::from_utf8(bytes[..end].to_vec()).expect("the head is text");
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .expect("a status");
        let body = bytes[end + 4..].to_vec();
        let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        Self {
            status,
            head,
            body: if chunked { unchunked(&body) } else { body },
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.text()))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// Checks status and code of an error, and the shape every error has.
    #[track_caller]
    fn expect_error(&self, status: u16, code: &str) -> Value {
        let body = self.json();
        assert_eq!(
            (self.status, body["code"].as_str()),
            (status, Some(code)),
            "{}",
            self.text()
        );
        assert_eq!(body["link"], format!("/errors#{code}"));
        assert_eq!(body["request_id"].as_str(), self.header("x-request-id"));
        assert!(
            body["message"].as_str().is_some_and(|message| message.len() > 10),
            "{body}"
        );
        assert!(body["type"].is_string());
        body
    }
}

fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") {
        let size = std::str::from_utf8(&bytes[..end])
            .ok()
            .and_then(|size| usize::from_str_radix(size, 16).ok());
        let Some(size) = size.filter(|size| *size > 0) else {
            break;
        };
        body.extend_from_slice(&bytes[end + 2..end + 2 + size]);
        bytes = &bytes[end + 4 + size..];
    }
    body
}
