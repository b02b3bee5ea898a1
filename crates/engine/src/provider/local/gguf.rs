//! Reads the header of a [GGUF](https://github.com/ggml-org/ggml/blob/master/docs/gguf.md) file
//! without trusting it.
//!
//! The file may be truncated, damaged or malicious. Every count is checked against the size of the
//! file and against a limit before anything is allocated. Every failure is a [`Fault`] with a
//! sentence. Candle reads the tensors later, from offsets that were checked here.

use candle_core::Shape;
use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::{Content, TensorInfo, Value, VersionedMagic};
use std::{
    collections::HashMap,
    io::{self, Read, Seek, SeekFrom},
};

/// The largest header. Current vocabularies take up to about 20 MiB.
const MAX_HEADER_BYTES: u64 = 96 << 20;
/// The longest name, token or chat template, in bytes.
const MAX_STRING_BYTES: u64 = 1 << 20;
/// The most values in all arrays together: enough for a vocabulary of a million tokens with its
/// types, scores and merges.
const MAX_ARRAY_VALUES: u64 = 4 << 20;
/// The most metadata entries.
const MAX_ENTRIES: u64 = 4096;
/// The most tensors.
const MAX_TENSORS: u64 = 65_536;
/// The most dimensions of a tensor.
const MAX_DIMENSIONS: u32 = 4;
/// The largest dimension of a tensor, so that overflowing products are noticed.
const MAX_SIDE: u64 = 1 << 32;

/// Why a file cannot be used: the rest of a sentence that starts with the file's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is not a GGUF file at all.
    NotGguf,
    /// It is truncated, such as by a download that broke off.
    CutShort {
        /// The length of the file in bytes.
        has: u64,
        /// The least length that it should have.
        needs: u64,
    },
    /// A part of it is invalid.
    Damaged(String),
    /// It is valid, but its model is not supported.
    Unsupported(String),
    /// It cannot be read from the disk.
    Io(String),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error.to_string())
    }
}

/// The first line of a library's error, at most 200 characters. If `RUST_BACKTRACE` is set, candle
/// adds a backtrace, which does not belong in a sentence for people.
pub(super) fn brief(error: &impl ToString) -> String {
    let text = error.to_string();
    text.lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(200)
        .collect()
}

fn damaged(what: impl Into<String>) -> Fault {
    Fault::Damaged(what.into())
}

/// Reads the header of a GGUF file of version 2 or 3 and checks that every tensor lies inside the
/// file.
///
/// # Errors
/// A [`Fault`] for anything but a complete, valid header.
pub(super) fn read_header<R: Read + Seek>(file: &mut R) -> Result<Content, Fault> {
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(0))?;
    let mut reader = Header {
        file,
        length,
        at: 0,
        values: 0,
    };
    if length < 4 || &reader.bytes::<4>()? != b"GGUF" {
        return Err(Fault::NotGguf);
    }
    let magic = match reader.u32()? {
        2 => VersionedMagic::GgufV2,
        3 => VersionedMagic::GgufV3,
        version => {
            return Err(Fault::Unsupported(format!(
                "is of GGUF version {version}; versions 2 and 3 can be read"
            )));
        }
    };
    let tensors = reader.count("tensors", MAX_TENSORS, 24)?;
    let entries = reader.count("entries", MAX_ENTRIES, 13)?;
    let mut metadata = HashMap::new();
    for _ in 0..entries {
        let key = reader.string()?;
        let kind = reader.u32()?;
        metadata.insert(key, reader.value(kind)?);
    }
    let mut tensor_infos = HashMap::new();
    for _ in 0..tensors {
        let (name, info) = reader.tensor()?;
        tensor_infos.insert(name, info);
    }
    let alignment = metadata
        .get("general.alignment")
        .and_then(number)
        .unwrap_or(32);
    if alignment == 0 || alignment > 1 << 20 {
        return Err(damaged(format!("its tensors are aligned to {alignment}")));
    }
    let content = Content {
        magic,
        metadata,
        tensor_infos,
        tensor_data_offset: reader.at.next_multiple_of(alignment),
    };
    check_tensors(&content, length)?;
    Ok(content)
}

/// An integer of any width, if the value is one and not negative.
pub(super) fn number(value: &Value) -> Option<u64> {
    match value {
        Value::I8(v) => u64::try_from(*v).ok(),
        Value::I16(v) => u64::try_from(*v).ok(),
        Value::I32(v) => u64::try_from(*v).ok(),
        Value::I64(v) => u64::try_from(*v).ok(),
        Value::Bool(_) => None,
        other => other.to_u64().ok(),
    }
}

/// The size of a tensor in the file, in bytes. `None` if its dimensions do not fit its block type.
pub(super) fn tensor_bytes(info: &TensorInfo) -> Option<u64> {
    let elements = elements(info)?;
    let block = info.ggml_dtype.block_size() as u64;
    if elements == 0 || !elements.is_multiple_of(block) {
        return None;
    }
    (elements / block).checked_mul(info.ggml_dtype.type_size() as u64)
}

/// The number of elements of a tensor. `None` if it overflows.
pub(super) fn elements(info: &TensorInfo) -> Option<u64> {
    let sides = info.shape.dims();
    sides
        .iter()
        .try_fold(1u64, |product, &side| product.checked_mul(side as u64))
        .filter(|&n| n < 1 << 48)
}

fn check_tensors(content: &Content, length: u64) -> Result<(), Fault> {
    let mut needs = 0;
    for (name, info) in &content.tensor_infos {
        let end = tensor_bytes(info)
            .and_then(|size| size.checked_add(info.offset))
            .and_then(|end| end.checked_add(content.tensor_data_offset))
            .ok_or_else(|| damaged(format!("the tensor {name} has no possible size")))?;
        needs = needs.max(end);
    }
    if needs > length {
        return Err(Fault::CutShort { has: length, needs });
    }
    Ok(())
}

/// A cursor over the header that counts the bytes it has read.
struct Header<'a, R> {
    file: &'a mut R,
    length: u64,
    at: u64,
    values: u64,
}

impl<R: Read + Seek> Header<'_, R> {
    fn take(&mut self, bytes: u64) -> Result<(), Fault> {
        let end = self.at.saturating_add(bytes);
        if end > MAX_HEADER_BYTES {
            return Err(damaged("its header is far too long"));
        }
        if end > self.length {
            return Err(Fault::CutShort {
                has: self.length,
                needs: end,
            });
        }
        self.at = end;
        Ok(())
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        self.take(N as u64)?;
        let mut buffer = [0; N];
        self.file.read_exact(&mut buffer)?;
        Ok(buffer)
    }

    fn u32(&mut self) -> Result<u32, Fault> {
        Ok(u32::from_le_bytes(self.bytes()?))
    }

    fn u64(&mut self) -> Result<u64, Fault> {
        Ok(u64::from_le_bytes(self.bytes()?))
    }

    /// Reads a count of items that each take at least `least` bytes of the file.
    fn count(&mut self, what: &str, limit: u64, least: u64) -> Result<u64, Fault> {
        let n = self.u64()?;
        if n > limit {
            return Err(damaged(format!("it claims to hold {n} {what}")));
        }
        let needs = self.at.saturating_add(n.saturating_mul(least));
        if needs > self.length {
            return Err(Fault::CutShort {
                has: self.length,
                needs,
            });
        }
        Ok(n)
    }

    fn string(&mut self) -> Result<String, Fault> {
        let n = self.count("bytes in one text", MAX_STRING_BYTES, 1)?;
        self.take(n)?;
        let mut text = vec![0; n as usize];
        self.file.read_exact(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn value(&mut self, kind: u32) -> Result<Value, Fault> {
        if kind != 9 {
            return self.scalar(kind);
        }
        let kind = self.u32()?;
        let n = self.count("values in one list", MAX_ARRAY_VALUES, 1)?;
        self.values += n;
        if self.values > MAX_ARRAY_VALUES {
            return Err(damaged("its lists are far too long"));
        }
        // Nested arrays have no use in these files, and would need a limit of their own.
        (0..n)
            .map(|_| self.scalar(kind))
            .collect::<Result<_, _>>()
            .map(Value::Array)
    }

    fn scalar(&mut self, kind: u32) -> Result<Value, Fault> {
        Ok(match kind {
            0 => Value::U8(u8::from_le_bytes(self.bytes()?)),
            1 => Value::I8(i8::from_le_bytes(self.bytes()?)),
            2 => Value::U16(u16::from_le_bytes(self.bytes()?)),
            3 => Value::I16(i16::from_le_bytes(self.bytes()?)),
            4 => Value::U32(self.u32()?),
            5 => Value::I32(i32::from_le_bytes(self.bytes()?)),
            6 => Value::F32(f32::from_le_bytes(self.bytes()?)),
            7 => Value::Bool(self.bytes::<1>()? != [0]),
            8 => Value::String(self.string()?),
            10 => Value::U64(self.u64()?),
            11 => Value::I64(i64::from_le_bytes(self.bytes()?)),
            12 => Value::F64(f64::from_le_bytes(self.bytes()?)),
            other => return Err(damaged(format!("it holds a value of kind {other}"))),
        })
    }

    fn tensor(&mut self) -> Result<(String, TensorInfo), Fault> {
        let name = self.string()?;
        let dimensions = self.u32()?;
        if dimensions == 0 || dimensions > MAX_DIMENSIONS {
            return Err(damaged(format!(
                "the tensor {name} has {dimensions} dimensions"
            )));
        }
        let mut sides = Vec::new();
        for _ in 0..dimensions {
            let side = self.u64()?;
            if side == 0 || side > MAX_SIDE {
                return Err(damaged(format!("the tensor {name} is {side} wide")));
            }
            sides.push(side as usize);
        }
        sides.reverse();
        let ggml_dtype = block_type(self.u32()?, &name)?;
        let offset = self.u64()?;
        let shape = Shape::from(sides);
        Ok((
            name,
            TensorInfo {
                ggml_dtype,
                shape,
                offset,
            },
        ))
    }
}

/// The block types that candle multiplies on a CPU.
fn block_type(code: u32, tensor: &str) -> Result<GgmlDType, Fault> {
    Ok(match code {
        0 => GgmlDType::F32,
        1 => GgmlDType::F16,
        2 => GgmlDType::Q4_0,
        3 => GgmlDType::Q4_1,
        6 => GgmlDType::Q5_0,
        7 => GgmlDType::Q5_1,
        8 => GgmlDType::Q8_0,
        10 => GgmlDType::Q2K,
        11 => GgmlDType::Q3K,
        12 => GgmlDType::Q4K,
        13 => GgmlDType::Q5K,
        14 => GgmlDType::Q6K,
        30 => GgmlDType::BF16,
        other => {
            return Err(Fault::Unsupported(format!(
                "stores its weights ({tensor}) as block type {other}; the built-in model reads F32, \
                 F16, BF16, Q4_0 to Q8_0 and Q2_K to Q6_K, such as a Q8_0 or Q4_K_M file"
            )));
        }
    })
}
