//! Runs the real binary, and talks plain HTTP to it.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// The binary under test with these arguments, in `folder`.
pub fn tamis(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tamis"));
    command.args(args).current_dir(folder).env_remove("TAMIS_LOG");
    command
}

/// What a finished command printed.
pub struct Finished {
    /// Its exit code.
    pub code: i32,
    /// Its data.
    pub stdout: String,
    /// Its messages.
    pub stderr: String,
}

impl Finished {
    /// Its data as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }
}

/// Runs `args` in `folder` to the end.
pub fn run(folder: &Path, args: &[&str]) -> Finished {
    let Output { status, stdout, stderr } = tamis(folder, args).output().expect("the binary starts");
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    Finished {
        code: status.code().expect("not killed"),
        stdout: text(stdout),
        stderr: text(stderr),
    }
}

/// As [`run`], and it must succeed.
pub fn succeed(folder: &Path, args: &[&str]) -> Finished {
    let finished = run(folder, args);
    assert_eq!(finished.code, 0, "tamis {args:?}: {}", finished.stderr);
    finished
}

/// A serving process; killed when dropped.
pub struct Service {
    process: Child,
    address: String,
}

impl Service {
    /// Starts `args` (which must end in a server on port 0) and waits for the address it prints.
    pub fn start(folder: &Path, args: &[&str]) -> Self {
        let mut process = tamis(folder, args)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        let mut lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        let address = lines.find_map(|line| {
            let line = line.expect("UTF-8");
            let start = line.find("http://")? + "http://".len();
            line[start..].split_whitespace().next().map(str::to_owned)
        });
        // Keep reading, so that the server never waits for its output to be read.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            process,
            address: address.expect("an address is printed"),
        }
    }

    /// The port it listens on.
    pub fn port(&self) -> &str {
        self.address.rsplit(':').next().expect("host:port")
    }

    /// Sends a request; returns status and body.
    pub fn request(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).expect("the server listens");
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .expect("a valid timeout");
        let kind = if path.contains("/bulk") {
            "application/x-ndjson"
        } else {
            "application/json"
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(body.as_bytes()))
            .expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("answered");
        let answer = String::from_utf8(answer).expect("UTF-8");
        let (head, body) = answer.split_once("\r\n\r\n").expect("head and body");
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .expect("a status line");
        let body = if head.to_lowercase().contains("transfer-encoding: chunked") {
            unchunk(body)
        } else {
            body.to_owned()
        };
        (status, body)
    }

    /// As [`Service::request`], and the answer must be JSON with status 2xx.
    pub fn json(&self, method: &str, path: &str, body: &str) -> Value {
        let (status, answer) = self.request(method, path, body);
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }

    /// kill -9.
    pub fn kill(mut self) {
        self.process.kill().expect("running");
        self.process.wait().expect("ended");
    }

    /// SIGTERM; returns the exit code.
    pub fn terminate(mut self) -> Option<i32> {
        let status = Command::new("kill")
            .arg(self.process.id().to_string())
            .status()
            .expect("kill is there");
        assert!(status.success());
        self.process.wait().expect("ended").code()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Puts a chunked body together.
fn unchunk(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).expect("a chunk size");
        if size == 0 {
            break;
        }
        whole.push_str(&rest[..size]);
        body = &rest[size + 2..];
    }
    whole
}
