//! The pickle machine: a stack, a memo and a fixed list of instructions.
//!
//! Source: the instruction set as documented by Python's own `pickletools` (protocols 0 to 4, 2024), of which the
//! instructions of `torch.save` are known here.

use super::tensor::{Storage, TensorView};
use super::value::{Global, Node, Value};
use std::collections::HashMap;
use std::rc::Rc;

/// Longest program; that of a model with a thousand tensors has about a hundredth of it.
pub(super) const MAX_PROGRAM_BYTES: usize = 16 << 20;

/// Most instructions of a program.
pub(super) const MAX_STEPS: usize = 1 << 20;

/// What is wrong with a program, and where.
#[derive(Debug)]
pub(super) struct Fault {
    /// The byte of the instruction.
    pub(super) offset: usize,
    pub(super) reason: String,
}

/// Runs one program after the other from the same bytes.
pub(super) struct Machine<'a> {
    bytes: &'a [u8],
    /// Where the next instruction is.
    pub(super) at: usize,
    steps: usize,
    stack: Vec<Value>,
    /// Heights of the stack at each open mark.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    nodes: Vec<Node>,
}

type Step<T> = Result<T, String>;

impl<'a> Machine<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            steps: 0,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            nodes: Vec::new(),
        }
    }

    /// Runs to the next STOP and gives what is left, with the nodes that it refers to.
    pub(super) fn run(&mut self) -> Result<(Vec<Node>, Value), Fault> {
        self.stack.clear();
        self.marks.clear();
        self.memo.clear();
        loop {
            let offset = self.at;
            match self.step() {
                Ok(None) => {}
                Ok(Some(value)) => return Ok((std::mem::take(&mut self.nodes), value)),
                Err(reason) => return Err(Fault { offset, reason }),
            }
        }
    }

    /// One instruction; a value at the end of the program.
    fn step(&mut self) -> Step<Option<Value>> {
        self.steps += 1;
        if self.steps > MAX_STEPS || self.at > MAX_PROGRAM_BYTES {
            return Err(format!(
                "the program is longer than {MAX_STEPS} instructions or {MAX_PROGRAM_BYTES} bytes"
            ));
        }
        let code = self.byte()?;
        match code {
            0x80 => {
                let version = self.byte()?;
                if !(2..=5).contains(&version) {
                    return Err(format!("pickle protocol {version}, 2 to 5 expected"));
                }
            }
            0x95 => drop(self.take(8)?),
            b'.' => return self.pop().map(Some),
            b'N' => self.push(Value::None),
            0x88 | 0x89 => self.push(Value::Bool),
            b'K' | b'M' | b'J' | 0x8a | b'G' => self.number(code)?,
            b'X' | 0x8c | 0x8d | b'U' | b'T' | b'C' | b'B' => self.text(code)?,
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.since_mark()?),
            b'2' => {
                let top = self.top()?.clone();
                self.push(top);
            }
            b')' | b']' | b'}' | b't' | b'l' | b'd' | 0x85..=0x87 => self.container(code)?,
            b'a' | b'e' | b's' | b'u' => self.fill(code)?,
            b'q' | b'r' | 0x94 | b'h' | b'j' => self.remember(code)?,
            b'c' | 0x93 => self.global(code)?,
            b'R' | 0x81 => self.reduce()?,
            b'b' => self.build()?,
            b'Q' => self.storage()?,
            other => {
                return Err(format!(
                    "instruction {other:#04x} is not one that a dictionary of tensors needs"
                ));
            }
        }
        Ok(None)
    }

    fn number(&mut self, code: u8) -> Step<()> {
        let value = match code {
            b'K' => Value::Int(self.byte()?.into()),
            b'M' => Value::Int(u16::from_le_bytes(self.array()?).into()),
            b'J' => Value::Int(i32::from_le_bytes(self.array()?).into()),
            b'G' => {
                self.take(8)?;
                Value::Other
            }
            _ => {
                let len = self.byte()?.into();
                let digits = self.take(len)?;
                let negative = digits.last().is_some_and(|&last| last >= 0x80);
                let mut number = [if negative { 0xff } else { 0 }; 8];
                match number.get_mut(..digits.len()) {
                    Some(low) => {
                        low.copy_from_slice(digits);
                        Value::Int(i64::from_le_bytes(number))
                    }
                    None => Value::Other,
                }
            }
        };
        self.push(value);
        Ok(())
    }

    /// Texts and bytes with their length before them.
    fn text(&mut self, code: u8) -> Step<()> {
        let len = match code {
            0x8c | b'U' | b'C' => self.byte()?.into(),
            0x8d => usize::try_from(u64::from_le_bytes(self.array()?)).unwrap_or(usize::MAX),
            _ => u32::from_le_bytes(self.array()?) as usize,
        };
        let bytes = self.take(len)?;
        let value = match std::str::from_utf8(bytes) {
            Ok(text) => Value::Text(text.into()),
            Err(_) if matches!(code, b'C' | b'B') => Value::Other,
            Err(_) => return Err("a text is not UTF-8".to_owned()),
        };
        self.push(value);
        Ok(())
    }

    fn container(&mut self, code: u8) -> Step<()> {
        let items = match code {
            b')' | b']' | b'}' => Vec::new(),
            b't' | b'l' | b'd' => self.since_mark()?,
            _ => self.last(usize::from(code - 0x84))?,
        };
        if code == b'd' && !items.len().is_multiple_of(2) {
            return Err("a dictionary with a key that has no value".to_owned());
        }
        self.nodes.push(items);
        let node = self.nodes.len() - 1;
        self.push(match code {
            b']' | b'l' => Value::List(node),
            b'}' | b'd' => Value::Dict(node),
            _ => Value::Tuple(node),
        });
        Ok(())
    }

    /// Adds to the list or dictionary below.
    fn fill(&mut self, code: u8) -> Step<()> {
        let items = match code {
            b'a' => self.last(1)?,
            b's' => self.last(2)?,
            _ => self.since_mark()?,
        };
        let node = match (code, self.top()?) {
            (b'a' | b'e', &Value::List(node)) | (b's' | b'u', &Value::Dict(node)) => node,
            (_, other) => return Err(format!("items are added to {}", other.kind())),
        };
        if matches!(code, b's' | b'u') && !items.len().is_multiple_of(2) {
            return Err("a key has no value".to_owned());
        }
        self.nodes[node].extend(items);
        Ok(())
    }

    fn remember(&mut self, code: u8) -> Step<()> {
        let key = match code {
            b'q' | b'h' => self.byte()?.into(),
            b'r' | b'j' => u32::from_le_bytes(self.array()?),
            _ => u32::try_from(self.memo.len()).map_err(|_| "the memo is full")?,
        };
        if matches!(code, b'h' | b'j') {
            let value = self.memo.get(&key).cloned();
            let value = value.ok_or_else(|| format!("entry {key} of the memo is read before it is written"))?;
            self.push(value);
        } else {
            let value = self.top()?.clone();
            self.memo.insert(key, value);
        }
        Ok(())
    }

    fn global(&mut self, code: u8) -> Step<()> {
        let (module, name) = if code == b'c' {
            (self.line()?, self.line()?)
        } else {
            let [module, name] = self.pair()?;
            let text = |value: Value| match value {
                Value::Text(text) => Ok(text.to_string()),
                other => Err(format!("{} where a name is expected", other.kind())),
            };
            (text(module)?, text(name)?)
        };
        let global = Global::named(&module, &name);
        let global = global.ok_or_else(|| format!("the name {module}.{name} is refused: it is not one of tensors"))?;
        self.push(Value::Global(global));
        Ok(())
    }

    /// What would be a call: the allowed names stand for values.
    fn reduce(&mut self) -> Step<()> {
        let [callee, arguments] = self.pair()?;
        let Value::Global(global) = callee else {
            return Err(format!("{} is called", callee.kind()));
        };
        let arguments = self.items(&arguments)?.to_vec();
        let made = match (global, arguments.as_slice()) {
            (Global::OrderedDict, []) => self.dictionary(Vec::new()),
            (Global::OrderedDict, [pairs]) => {
                let pairs = self.items(pairs)?.to_vec();
                let pairs = pairs.iter().map(|pair| match self.items(pair)? {
                    [key, value] => Ok([key.clone(), value.clone()]),
                    _ => Err("a dictionary is made of something other than pairs".to_owned()),
                });
                let pairs = pairs.collect::<Step<Vec<_>>>()?.concat();
                self.dictionary(pairs)
            }
            (Global::Size, [sizes @ Value::Tuple(_)]) => sizes.clone(),
            (Global::RebuildParameter, [tensor @ Value::Tensor(_), ..]) => tensor.clone(),
            (Global::RebuildTensor, [Value::Storage(storage), offset, shape, strides, ..]) => {
                let view = TensorView {
                    storage: Rc::clone(storage),
                    offset: size(offset)?,
                    shape: self.sizes(shape)?,
                    strides: self.sizes(strides)?,
                };
                Value::Tensor(Rc::new(view))
            }
            (global, arguments) => {
                let kinds: Vec<&str> = arguments.iter().take(8).map(Value::kind).collect();
                return Err(format!("{global:?} of {}", kinds.join(", ")));
            }
        };
        self.push(made);
        Ok(())
    }

    fn dictionary(&mut self, entries: Node) -> Value {
        self.nodes.push(entries);
        Value::Dict(self.nodes.len() - 1)
    }

    /// Sets attributes; dictionaries carry some that describe versions and are dropped.
    fn build(&mut self) -> Step<()> {
        let _state = self.pop()?;
        match self.top()? {
            Value::Dict(_) => Ok(()),
            other => Err(format!("attributes are set on {}", other.kind())),
        }
    }

    /// A storage by its persistent id: `("storage", type, key, location, length)`.
    fn storage(&mut self) -> Step<()> {
        let id = self.pop()?;
        let storage = match self.items(&id)? {
            [
                Value::Text(tag),
                Value::Global(Global::Storage(element)),
                Value::Text(key),
                _,
                len,
            ]
            | [
                Value::Text(tag),
                Value::Global(Global::Storage(element)),
                Value::Text(key),
                _,
                len,
                Value::None,
            ] if &**tag == "storage" => Storage {
                key: Rc::clone(key),
                element: *element,
                len: size(len)?,
            },
            _ => return Err("a persistent id that is not one of a storage".to_owned()),
        };
        self.push(Value::Storage(Rc::new(storage)));
        Ok(())
    }

    fn sizes(&self, value: &Value) -> Step<Vec<usize>> {
        let items = self.items(value)?;
        if items.len() > 16 {
            return Err(format!("a tensor of {} dimensions", items.len()));
        }
        items.iter().map(size).collect()
    }

    /// The items of a tuple or list.
    fn items(&self, value: &Value) -> Step<&[Value]> {
        match value {
            Value::Tuple(node) | Value::List(node) => Ok(&self.nodes[*node]),
            other => Err(format!("a tuple expected, {} found", other.kind())),
        }
    }

    fn push(&mut self, value: Value) {
        self.stack.push(value);
    }

    /// The lowest place of the stack that may be touched: above the last mark.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Step<&Value> {
        self.stack[self.floor()..].last().ok_or_else(|| EMPTY.to_owned())
    }

    fn pop(&mut self) -> Step<Value> {
        if self.stack.len() <= self.floor() {
            return Err(EMPTY.to_owned());
        }
        self.stack.pop().ok_or_else(|| EMPTY.to_owned())
    }

    fn pair(&mut self) -> Step<[Value; 2]> {
        let second = self.pop()?;
        Ok([self.pop()?, second])
    }

    fn last(&mut self, count: usize) -> Step<Vec<Value>> {
        let from = self.stack.len().checked_sub(count).filter(|&from| from >= self.floor());
        Ok(self.stack.split_off(from.ok_or(EMPTY)?))
    }

    fn since_mark(&mut self) -> Step<Vec<Value>> {
        let mark = self.marks.pop().ok_or("an end without its mark")?;
        Ok(self.stack.split_off(mark))
    }

    fn byte(&mut self) -> Step<u8> {
        Ok(self.array::<1>()?[0])
    }

    fn array<const N: usize>(&mut self) -> Step<[u8; N]> {
        let (array, _) = self.take(N)?.split_first_chunk().ok_or(SHORT)?;
        Ok(*array)
    }

    fn take(&mut self, len: usize) -> Step<&'a [u8]> {
        let taken = self
            .bytes
            .get(self.at..)
            .and_then(|rest| rest.get(..len))
            .ok_or(SHORT)?;
        self.at += len;
        Ok(taken)
    }

    fn line(&mut self) -> Step<String> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let len = rest.iter().take(256).position(|&byte| byte == b'\n');
        let line = self.take(len.ok_or("a name without an end")?)?;
        self.take(1)?;
        let line = std::str::from_utf8(line).map_err(|_| "a name is not UTF-8")?;
        Ok(line.to_owned())
    }
}

const EMPTY: &str = "the stack is empty";
const SHORT: &str = "the program ends early";

fn size(value: &Value) -> Step<usize> {
    match value {
        Value::Int(size) => usize::try_from(*size).map_err(|_| format!("a size of {size}")),
        other => Err(format!("a size expected, {} found", other.kind())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(program: &[u8]) -> Fault {
        Machine::new(program).run().expect_err("refused")
    }

    #[test]
    fn a_program_that_calls_the_system_is_refused_by_name() {
        let old = fault(b"\x80\x02cos\nsystem\nX\x02\0\0\0id\x85R.");
        assert_eq!(old.offset, 2);
        assert!(old.reason.contains("os.system"), "{}", old.reason);
        let new = fault(b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x02id\x85R.");
        assert!(new.reason.contains("posix.system"), "{}", new.reason);
        let builtin = fault(b"\x80\x02c__builtin__\neval\nX\x01\0\0\x001\x85R.");
        assert!(builtin.reason.contains("__builtin__.eval"), "{}", builtin.reason);
    }

    #[test]
    fn other_instructions_are_refused_with_their_place() {
        // INST, OBJ, EXT1, PERSID and integers as text have no place among tensors.
        for code in [b'i', b'o', 0x82, b'P', b'I', 0x92, 0x96] {
            let fault = fault(&[0x80, 2, b'N', code, b'.']);
            assert_eq!(fault.offset, 3);
            assert!(fault.reason.contains(&format!("{code:#04x}")), "{}", fault.reason);
        }
    }

    #[test]
    fn deep_nesting_takes_no_stack_and_long_programs_end() {
        let mut deep = vec![b']'; 400_000];
        deep.extend(vec![b'a'; 399_999]);
        deep.push(b'.');
        let (nodes, value) = Machine::new(&deep).run().expect("a list in a list in a list");
        assert!(matches!(value, Value::List(0)) && nodes.len() == 400_000);
        let endless = vec![b'N'; MAX_STEPS + 2];
        assert!(fault(&endless).reason.contains("longer than"));
        // A step leaves at most a value on the stack, one in the memo, one in a container, and a container.
        let most = 2 * MAX_PROGRAM_BYTES + MAX_STEPS * 5 * 2 * size_of::<Value>();
        assert!(most < 320 << 20, "{most}");
    }

    #[test]
    fn marks_guard_what_is_below_them() {
        for program in [&b"N(0."[..], b"N(2.", b"N(\x85.", b"(.", b"t.", b"N(R.", b"]N(a."] {
            assert!(Machine::new(program).run().is_err(), "{program:?}");
        }
    }
}
