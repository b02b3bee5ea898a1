//! Small model files with random weights.

use super::super::model::LocalModel;
use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{collections::BTreeMap, io::Cursor, path::Path, sync::Arc};

pub(super) const WIDTH: usize = 64;
pub(super) const FEED: usize = 96;
pub(super) const HEADS: usize = 4;
pub(super) const KV_HEADS: usize = 2;
pub(super) const HEAD_DIM: usize = 16;
pub(super) const LAYERS: usize = 2;
const CONTROL: [&str; 4] = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<bad>"];
const TEMPLATE: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}\
                        {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// A model file in the making.
pub(super) struct Tiny {
    pub(super) architecture: &'static str,
    pub(super) metadata: BTreeMap<String, Value>,
    pub(super) tensors: BTreeMap<String, Tensor>,
    pub(super) block_type: GgmlDType,
}

impl Tiny {
    pub(super) fn new(architecture: &'static str) -> Self {
        let mut tiny = Self {
            architecture,
            metadata: BTreeMap::new(),
            tensors: BTreeMap::new(),
            block_type: GgmlDType::F32,
        };
        tiny.facts();
        tiny.words();
        tiny.weights();
        tiny
    }

    fn facts(&mut self) {
        self.set(
            "general.architecture",
            Value::String(self.architecture.into()),
        );
        self.set("general.name", Value::String("Tiny".into()));
        for (key, n) in [
            ("embedding_length", WIDTH),
            ("feed_forward_length", FEED),
            ("attention.head_count", HEADS),
            ("attention.head_count_kv", KV_HEADS),
            ("block_count", LAYERS),
            ("context_length", 1024),
        ] {
            self.fact(key, n as u32);
        }
        self.set(
            &format!("{}.rope.freq_base", self.architecture),
            Value::F32(10_000.0),
        );
    }

    /// Sets a number under the architecture's name.
    pub(super) fn fact(&mut self, key: &str, n: u32) {
        self.set(&format!("{}.{key}", self.architecture), Value::U32(n));
    }

    pub(super) fn set(&mut self, key: &str, value: Value) {
        self.metadata.insert(key.into(), value);
    }

    /// All bytes as GPT-2 spells them, four control tokens, and one merge.
    fn words(&mut self) {
        let visible = |b: u32| matches!(b, 33..=126 | 161..=172 | 174..=255);
        let mut next = 256;
        let mut words: Vec<String> = (0..256)
            .map(|byte| {
                let code = if visible(byte) {
                    byte
                } else {
                    next += 1;
                    next - 1
                };
                char::from_u32(code).unwrap().to_string()
            })
            .collect();
        words.push("he".into());
        let mut kinds = vec![1; words.len()];
        for control in CONTROL {
            words.push(control.into());
            kinds.push(3);
        }
        let string = |s: &str| Value::String(s.into());
        self.set("tokenizer.ggml.model", string("gpt2"));
        self.set("tokenizer.ggml.pre", string("smollm"));
        self.set(
            "tokenizer.ggml.tokens",
            Value::Array(words.iter().map(|w| string(w)).collect()),
        );
        self.set(
            "tokenizer.ggml.token_type",
            Value::Array(kinds.into_iter().map(Value::I32).collect()),
        );
        self.set("tokenizer.ggml.merges", Value::Array(vec![string("h e")]));
        self.set("tokenizer.ggml.bos_token_id", Value::U32(257));
        self.set("tokenizer.ggml.eos_token_id", Value::U32(258));
        self.set("tokenizer.chat_template", string(TEMPLATE));
    }

    fn weights(&mut self) {
        let mut random = StdRng::seed_from_u64(5);
        let mut add = |name: String, sides: &[usize], middle: f32, spread: f32| {
            let n = sides.iter().product();
            let numbers: Vec<f32> = (0..n)
                .map(|_| middle + spread * (random.random::<f32>() - 0.5))
                .collect();
            let tensor = Tensor::from_vec(numbers, sides, &Device::Cpu).unwrap();
            self.tensors.insert(name, tensor);
        };
        let (queries, keys) = (HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM);
        add("token_embd.weight".into(), &[261, WIDTH], 0.0, 2.0);
        add("output_norm.weight".into(), &[WIDTH], 1.0, 0.5);
        for i in 0..LAYERS {
            for (name, rows, columns) in [
                ("attn_q", queries, WIDTH),
                ("attn_k", keys, WIDTH),
                ("attn_v", keys, WIDTH),
                ("attn_output", WIDTH, queries),
                ("ffn_gate", FEED, WIDTH),
                ("ffn_up", FEED, WIDTH),
                ("ffn_down", WIDTH, FEED),
            ] {
                add(format!("blk.{i}.{name}.weight"), &[rows, columns], 0.0, 0.5);
                let biased = matches!(name, "attn_q" | "attn_k" | "attn_v");
                if biased && self.architecture == "qwen2" {
                    add(format!("blk.{i}.{name}.bias"), &[rows], 0.0, 0.5);
                }
            }
            add(format!("blk.{i}.attn_norm.weight"), &[WIDTH], 1.0, 0.5);
            add(format!("blk.{i}.ffn_norm.weight"), &[WIDTH], 1.0, 0.5);
            if self.architecture == "qwen3" {
                add(format!("blk.{i}.attn_q_norm.weight"), &[HEAD_DIM], 1.0, 0.5);
                add(format!("blk.{i}.attn_k_norm.weight"), &[HEAD_DIM], 1.0, 0.5);
            }
        }
    }

    /// The file's bytes.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let packed: Vec<(&str, QTensor)> = self
            .tensors
            .iter()
            .map(|(name, tensor)| {
                let matrix = tensor.rank() == 2;
                let kind = if matrix {
                    self.block_type
                } else {
                    GgmlDType::F32
                };
                (name.as_str(), QTensor::quantize(tensor, kind).unwrap())
            })
            .collect();
        let tensors: Vec<_> = packed.iter().map(|(name, q)| (*name, q)).collect();
        let metadata: Vec<_> = self.metadata.iter().map(|(k, v)| (k.as_str(), v)).collect();
        let mut file = Cursor::new(Vec::new());
        gguf_file::write(&mut file, &metadata, &tensors).unwrap();
        file.into_inner()
    }

    pub(super) fn write(&self, path: &Path) {
        std::fs::write(path, self.bytes()).unwrap();
    }

    /// The model, loaded from a file.
    pub(super) fn load(&self, max_context: usize) -> Arc<LocalModel> {
        super::one_thread();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tiny.gguf");
        self.write(&path);
        Arc::new(LocalModel::load(&path, max_context).unwrap())
    }
}
