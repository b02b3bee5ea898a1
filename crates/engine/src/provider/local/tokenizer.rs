//! Turns text into tokens and back, with the vocabulary in the model file.

use super::{
    gguf::{Fault, brief, number},
    halt::{Cancel, Halt, internal},
};
use candle_core::quantized::gguf_file::{Content, Value};
use candle_core::quantized::tokenizer::TokenizerFromGguf;
use std::collections::{BTreeSet, HashSet};
use tokenizers::{
    Tokenizer,
    pre_tokenizers::{byte_level::ByteLevel, digits::Digits, sequence::Sequence},
};

/// The tokens that end a turn, for files whose metadata names only one of them.
const END_OF_TURN: [&str; 5] = [
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|end_of_text|>",
    "</s>",
];

/// The number of bytes after which counting checks for cancellation.
const COUNT_BYTES: usize = 8 << 10;

/// The number of characters after which cleaning checks for cancellation.
const CHECK_EVERY: usize = 4 << 10;

/// The types of tokens in a GGUF vocabulary.
mod kind {
    pub(super) const UNKNOWN: u64 = 2;
    pub(super) const CONTROL: u64 = 3;
    pub(super) const USER_DEFINED: u64 = 4;
    pub(super) const UNUSED: u64 = 5;
}

/// The vocabulary of the model.
pub(super) struct Vocabulary {
    tokenizer: Tokenizer,
    /// The bytes of each token. A token may contain a part of a character.
    pieces: Vec<Box<[u8]>>,
    /// The texts of control tokens, which the model would read as structure and not as text.
    control: HashSet<String>,
    /// Their lengths in bytes, the longest first.
    control_lengths: Vec<usize>,
    /// Their last characters.
    control_ends: HashSet<char>,
    ends: HashSet<u32>,
    first: Option<u32>,
    bos: String,
    eos: String,
}

impl Vocabulary {
    /// Reads the vocabulary from the metadata.
    ///
    /// # Errors
    /// A [`Fault`] where there is none, or one of another sort than byte-level BPE.
    pub(super) fn read(content: &mut Content) -> Result<Self, Fault> {
        let model = super::shape::text(content, "tokenizer.ggml.model").unwrap_or_default();
        if model != "gpt2" {
            return Err(Fault::Unsupported(format!(
                "has a vocabulary of the sort {:?}; the built-in model reads byte-level BPE (\"gpt2\"), \
                 as SmolLM2, Llama 3 and Qwen have it",
                model.chars().take(20).collect::<String>()
            )));
        }
        let words = words(content)?;
        let kinds = kinds(content);
        let id = |key: &str| {
            let value = content.metadata.get(&format!("tokenizer.ggml.{key}"))?;
            u32::try_from(number(value)?).ok()
        };
        let word = |id: Option<u32>| id.and_then(|id| words.get(id as usize)).cloned();
        let (bos, eos) = (id("bos_token_id"), id("eos_token_id"));
        let mut ends: HashSet<u32> = eos.into_iter().chain(id("eot_token_id")).collect();
        let mut control: HashSet<String> = [word(bos), word(eos)].into_iter().flatten().collect();
        for (id, word) in words.iter().enumerate() {
            if END_OF_TURN.contains(&word.as_str()) {
                ends.insert(id as u32);
            }
            if kinds.get(id) == Some(&kind::CONTROL) {
                control.insert(word.clone());
            }
        }
        control.remove("");
        let add_bos = matches!(
            content.metadata.get("tokenizer.ggml.add_bos_token"),
            Some(Value::Bool(true))
        );
        let spelling = Spelling::new();
        let pieces = words
            .iter()
            .enumerate()
            .map(|(id, word)| spelling.piece(word, kinds.get(id).copied().unwrap_or(1)))
            .collect();
        Ok(Self {
            pieces,
            ends,
            control_ends: control
                .iter()
                .filter_map(|word| word.chars().last())
                .collect(),
            control_lengths: lengths(&control),
            control,
            first: bos.filter(|_| add_bos),
            bos: word(bos).unwrap_or_default(),
            eos: word(eos).unwrap_or_default(),
            tokenizer: tokenizer(content)?,
        })
    }

    /// The text of the token that begins a document; empty if there is none.
    pub(super) fn bos(&self) -> &str {
        &self.bos
    }

    /// The text of the token that ends a turn; empty if there is none.
    pub(super) fn eos(&self) -> &str {
        &self.eos
    }

    /// Whether this token ends the answer.
    pub(super) fn is_end(&self, id: u32) -> bool {
        self.ends.contains(&id)
    }

    /// The tokens of a rendered prompt. Texts of control tokens become control tokens, so remove
    /// them from messages first: see [`Self::strip_control`].
    ///
    /// # Errors
    /// The error of the tokenizer, which only happens with an invalid vocabulary.
    pub(super) fn encode(&self, text: &str) -> Result<Vec<u32>, Halt> {
        let encoding = self
            .tokenizer
            .encode_fast(text, false)
            .map_err(|error| internal(&error.to_string()))?;
        let mut ids = encoding.get_ids().to_vec();
        if let Some(first) = self.first.filter(|first| ids.first() != Some(first)) {
            ids.insert(0, first);
        }
        Ok(ids)
    }

    /// Estimates the number of tokens of a text, to one or two in a thousand. Counting ends once
    /// there are more than `enough`.
    ///
    /// # Errors
    /// [`Halt::Cancelled`], or the error of the tokenizer.
    pub(super) fn count(&self, text: &str, enough: usize, cancel: &Cancel) -> Result<usize, Halt> {
        let (mut rest, mut count) = (text, 0);
        while !rest.is_empty() && count <= enough {
            cancel.check()?;
            let mut cut = rest.len().min(COUNT_BYTES);
            while !rest.is_char_boundary(cut) {
                cut -= 1;
            }
            let (piece, tail) = rest.split_at(cut);
            count += self.encode(piece)?.len();
            rest = tail;
        }
        Ok(count)
    }

    /// The text without control tokens, including those that would only form when another one
    /// inside them is removed.
    ///
    /// # Errors
    /// [`Halt::Cancelled`].
    pub(super) fn strip_control(&self, text: &str, cancel: &Cancel) -> Result<String, Halt> {
        let mut clean = String::with_capacity(text.len());
        for (number, character) in text.chars().enumerate() {
            if number % CHECK_EVERY == 0 {
                cancel.check()?;
            }
            clean.push(character);
            // A control token in `clean` can only end with the character just added.
            if !self.control_ends.contains(&character) {
                continue;
            }
            let ends = |length: &&usize| {
                let start = clean.len().checked_sub(**length);
                let end = start.and_then(|start| clean.get(start..));
                end.is_some_and(|end| self.control.contains(end))
            };
            if let Some(length) = self.control_lengths.iter().find(ends) {
                clean.truncate(clean.len() - length);
            }
        }
        Ok(clean)
    }

    /// A decoder for the tokens of one answer.
    pub(super) fn decoder(&self) -> TextDecoder<'_> {
        TextDecoder {
            pieces: &self.pieces,
            held: Vec::new(),
        }
    }
}

/// Turns tokens into text, and holds back the bytes of an incomplete character.
pub(super) struct TextDecoder<'a> {
    pieces: &'a [Box<[u8]>],
    held: Vec<u8>,
}

impl TextDecoder<'_> {
    /// The text that this token completes; empty while a character is incomplete. Invalid bytes
    /// become U+FFFD.
    pub(super) fn push(&mut self, id: u32) -> String {
        if let Some(piece) = self.pieces.get(id as usize) {
            self.held.extend_from_slice(piece);
        }
        let mut text = String::new();
        loop {
            match str::from_utf8(&self.held) {
                Ok(valid) => {
                    text.push_str(valid);
                    self.held.clear();
                    return text;
                }
                Err(error) => {
                    let valid = error.valid_up_to();
                    text.push_str(&String::from_utf8_lossy(&self.held[..valid]));
                    let Some(broken) = error.error_len() else {
                        self.held.drain(..valid);
                        return text;
                    };
                    text.push(char::REPLACEMENT_CHARACTER);
                    self.held.drain(..valid + broken);
                }
            }
        }
    }

    /// The rest at the end: U+FFFD for an incomplete character, otherwise nothing.
    pub(super) fn finish(self) -> String {
        String::from_utf8_lossy(&self.held).into_owned()
    }
}

fn lengths(words: &HashSet<String>) -> Vec<usize> {
    let lengths: BTreeSet<usize> = words.iter().map(String::len).collect();
    lengths.into_iter().rev().collect()
}

fn words(content: &Content) -> Result<Vec<String>, Fault> {
    let Some(Value::Array(words)) = content.metadata.get("tokenizer.ggml.tokens") else {
        return Err(Fault::Damaged("it has no vocabulary".into()));
    };
    words
        .iter()
        .map(|word| match word {
            Value::String(word) => Ok(word.clone()),
            _ => Err(Fault::Damaged(
                "its vocabulary has words that are no text".into(),
            )),
        })
        .collect()
}

fn kinds(content: &Content) -> Vec<u64> {
    match content.metadata.get("tokenizer.ggml.token_type") {
        Some(Value::Array(kinds)) => kinds.iter().map(|k| number(k).unwrap_or(1)).collect(),
        _ => Vec::new(),
    }
}

/// [GPT-2's mapping](https://github.com/openai/gpt-2/blob/master/src/encoder.py) of bytes to
/// visible characters. Visible Latin-1 characters are unchanged; the other 68 bytes are numbered
/// from U+0100.
struct Spelling {
    invisible: Vec<u8>,
}

impl Spelling {
    fn new() -> Self {
        Self {
            invisible: (0..=255).filter(|&b| !Self::visible(b.into())).collect(),
        }
    }

    fn visible(code: u32) -> bool {
        matches!(code, 33..=126 | 161..=172 | 174..=255)
    }

    fn byte(&self, character: char) -> Option<u8> {
        let code = u32::from(character);
        if Self::visible(code) {
            return u8::try_from(code).ok();
        }
        let place = code.checked_sub(256)?;
        self.invisible.get(place as usize).copied()
    }

    /// The bytes of a token of the vocabulary.
    fn piece(&self, word: &str, kind: u64) -> Box<[u8]> {
        match kind {
            kind::UNKNOWN | kind::CONTROL | kind::UNUSED => Box::default(),
            kind::USER_DEFINED => word.as_bytes().into(),
            _ => word
                .chars()
                .map(|character| self.byte(character))
                .collect::<Option<_>>()
                .unwrap_or_else(|| word.as_bytes().into()),
        }
    }
}

/// The tokenizer. Candle's own reader supports only the pre-tokenizers "qwen2" and "llama3". It
/// treats all others as GPT-2's with a space before the text, which gives wrong tokens. This
/// corrects them.
fn tokenizer(content: &mut Content) -> Result<Tokenizer, Fault> {
    let split = super::shape::text(content, "tokenizer.ggml.pre").unwrap_or_default();
    let mut set = |key: &str, value| content.metadata.insert(key.into(), value);
    match split.as_str() {
        "llama-bpe" | "llama-v3" => {
            // The name that llama.cpp writes for Llama 3.
            set("tokenizer.ggml.pre", Value::String("llama3".into()));
            set("tokenizer.ggml.ignore_merges", Value::Bool(true));
        }
        "deepseek-r1-qwen" => {
            set("tokenizer.ggml.pre", Value::String("qwen2".into()));
        }
        _ => {}
    }
    let mut tokenizer = Tokenizer::from_gguf(content).map_err(|error| {
        Fault::Damaged(format!("its vocabulary cannot be used: {}", brief(&error)))
    })?;
    match split.as_str() {
        "qwen2" | "llama3" | "lfm2" | "smaug-bpe" | "llama-bpe" | "llama-v3"
        | "deepseek-r1-qwen" => {}
        "smollm" => {
            let digits = Digits::new(true).into();
            let words = ByteLevel::new(false, true, true).into();
            tokenizer.with_pre_tokenizer(Some(Sequence::new(vec![digits, words])));
        }
        other => {
            if !matches!(other, "gpt-2" | "gpt2" | "default" | "") {
                tracing::warn!(split = other, "unknown word split; GPT-2's is used");
            }
            tokenizer.with_pre_tokenizer(Some(ByteLevel::new(false, true, true)));
        }
    }
    Ok(tokenizer)
}
