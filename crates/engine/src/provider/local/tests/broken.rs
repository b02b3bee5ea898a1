//! Files that cannot be used: each must give a sentence, without a panic or a large allocation.

use super::{super::LocalProvider, LocalConfig, hear, request, tiny::Tiny};
use crate::provider::Provider;
use candle_core::quantized::gguf_file::Value;
use candle_core::{Device, Tensor};
use headwater_protocol::{Error, ErrorCode};
use std::path::Path;

fn check_bytes(bytes: &[u8]) -> Error {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    std::fs::write(&path, bytes).unwrap();
    let checked = LocalProvider::check(&path);
    let loaded = super::LocalModel::load(&path, 256).err();
    let error = loaded.expect("the file can be loaded");
    // What the header tells must be known without reading the weights.
    if let Err(early) = checked {
        assert_eq!(early, error);
    }
    error
}

fn assert_says(error: &Error, parts: &[&str]) {
    assert!(!error.retryable, "{error:?}");
    for part in parts.iter().chain(&["HEADWATER_MODEL", "make setup"]) {
        assert!(error.message.contains(part), "{part:?} in {error:?}");
    }
    assert!(error.message.len() < 700, "{error:?}");
}

#[test]
fn a_missing_file_says_where_it_should_be() {
    let error = LocalProvider::check(Path::new("/nowhere/x.gguf")).unwrap_err();
    assert_eq!(error.code, ErrorCode::NotFound);
    assert_says(&error, &["There is no model file at /nowhere/x.gguf."]);
    let folder = tempfile::tempdir().unwrap();
    let error = LocalProvider::check(folder.path()).unwrap_err();
    assert_says(&error, &["model file"]);
}

#[test]
fn something_else_is_not_a_model_file() {
    for bytes in [&b""[..], b"GG", b"PK\x03\x04 a zip file", &[0; 4096]] {
        assert_says(&check_bytes(bytes), &["is not a GGUF model file"]);
    }
}

#[test]
fn a_file_cut_anywhere_is_incomplete() {
    let whole = Tiny::new("llama").bytes();
    for cut in [5, 20, 30, 100, 1000, whole.len() / 2, whole.len() - 20_000] {
        assert_says(&check_bytes(&whole[..cut]), &["incomplete"]);
    }
}

#[test]
fn claims_of_great_size_are_refused_before_memory_is_taken() {
    let header = |tensors: u64, entries: u64, rest: &[u8]| {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend(tensors.to_le_bytes());
        bytes.extend(entries.to_le_bytes());
        bytes.extend(rest);
        bytes.resize(bytes.len() + 4096, 0);
        bytes
    };
    let many = |n: u64, rest: &[u8]| [&n.to_le_bytes()[..], rest].concat();
    for bytes in [
        header(u64::MAX, 0, &[]),
        header(0, u64::MAX, &[]),
        header(60_000, 0, &[]),
        header(0, 1, &many(u64::MAX, &[])),
        header(0, 1, &many(1 << 40, &[])),
        // A list of 2^60 numbers, and one of lists of lists.
        header(0, 1, &many(1, b"k\x09\0\0\0\x04\0\0\0\0\0\0\0\0\0\0\x10")),
        header(0, 1, &many(1, b"k\x09\0\0\0\x09\0\0\0\x01\0\0\0\0\0\0\0")),
        header(0, 1, &many(1, b"k\x63\0\0\0")),
        // Tensors: 99 dimensions, a side of 2^63, a product beyond all bounds.
        header(1, 0, &many(1, b"t\x63\0\0\0")),
        header(1, 0, &many(1, b"t\x01\0\0\0\0\0\0\0\0\0\0\x80")),
        header(
            1,
            0,
            &many(
                1,
                b"t\x03\0\0\0\0\0\0\x40\0\0\0\0\0\0\0\x40\0\0\0\0\0\0\0\x40\0\0\0\0",
            ),
        ),
    ] {
        let error = check_bytes(&bytes);
        let known = ["incomplete", "damaged"];
        assert!(known.iter().any(|k| error.message.contains(k)), "{error:?}");
    }
}

#[test]
fn no_changed_byte_of_the_header_makes_a_panic() {
    let whole = Tiny::new("llama").bytes();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    let header = whole.len() - Tiny::new("llama").tensors.len() * 64;
    for at in (0..header.min(16_000)).step_by(7) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        std::fs::write(&path, &bytes).unwrap();
        // Either is well; a panic is not.
        let _ = LocalProvider::check(&path);
    }
}

#[test]
fn an_architecture_that_cannot_be_run_is_named_with_those_that_can() {
    let mut tiny = Tiny::new("llama");
    tiny.set("general.architecture", Value::String("gemma3".into()));
    let error = check_bytes(&tiny.bytes());
    assert_eq!(error.code, ErrorCode::InvalidRequest);
    assert_says(&error, &["\"gemma3\"", "llama", "qwen2", "qwen3"]);
}

#[test]
fn other_things_that_cannot_be_run_are_named() {
    type Change = fn(&mut Tiny);
    let cases: [(Change, &str); 6] = [
        (|t| t.fact("expert_count", 8), "mixture of experts"),
        (|t| t.fact("rope.dimension_count", 4), "part of each head"),
        (
            |t| t.set("tokenizer.ggml.model", Value::String("llama".into())),
            "vocabulary of the sort \"llama\"",
        ),
        (
            |t| {
                t.metadata.remove("tokenizer.chat_template");
            },
            "no chat template",
        ),
        (
            |t| t.set("tokenizer.chat_template", Value::String("{% for".into())),
            "chat template cannot be read",
        ),
        (
            |t| t.set("tokenizer.ggml.merges", Value::Array(vec![Value::U8(1)])),
            "vocabulary cannot be used",
        ),
    ];
    for (change, says) in cases {
        let mut tiny = Tiny::new("llama");
        change(&mut tiny);
        assert_says(&check_bytes(&tiny.bytes()), &[says]);
    }
}

#[test]
fn impossible_sizes_are_damage() {
    let cases = [
        ("block_count", 0),
        ("block_count", 3),
        ("block_count", u32::MAX),
        ("attention.head_count", 0),
        ("attention.head_count", 1 << 20),
        ("attention.head_count_kv", 3),
        ("attention.head_count_kv", 0),
        ("embedding_length", 0),
        ("embedding_length", 128),
        ("embedding_length", u32::MAX),
        ("attention.key_length", 15),
        ("feed_forward_length", 97),
        ("context_length", 0),
        ("context_length", u32::MAX),
    ];
    for (key, n) in cases {
        let mut tiny = Tiny::new("llama");
        tiny.fact(key, n);
        assert_says(&check_bytes(&tiny.bytes()), &["damaged"]);
    }
}

#[test]
fn missing_and_misshapen_tensors_are_damage() {
    for name in [
        "blk.1.attn_k.weight",
        "output_norm.weight",
        "token_embd.weight",
    ] {
        let mut tiny = Tiny::new("llama");
        tiny.tensors.remove(name);
        assert_says(&check_bytes(&tiny.bytes()), &["damaged"]);
        let mut tiny = Tiny::new("llama");
        let odd = Tensor::ones((3, 5), candle_core::DType::F32, &Device::Cpu).unwrap();
        tiny.tensors.insert(name.into(), odd);
        assert_says(&check_bytes(&tiny.bytes()), &["damaged"]);
    }
    for (key, value) in [
        ("llama.rope.freq_base", Value::F32(f32::NAN)),
        ("general.alignment", Value::U32(0)),
        ("llama.block_count", Value::String("two".into())),
        (
            "tokenizer.ggml.tokens",
            Value::Array(vec![Value::U8(1); 261]),
        ),
    ] {
        let mut tiny = Tiny::new("llama");
        tiny.set(key, value);
        assert_says(&check_bytes(&tiny.bytes()), &["damaged"]);
    }
}

#[tokio::test]
async fn the_provider_says_so_too_and_recovers_when_the_file_comes() {
    super::one_thread();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("late.gguf");
    let mut config = LocalConfig::new(&path);
    config.max_new_tokens = 3;
    let provider = LocalProvider::new(config);
    provider.warm_up();
    let error = provider.models().await.unwrap_err();
    assert_eq!(error.code, ErrorCode::NotFound);
    let heard = hear(&provider, request("c", &["Hi"])).await;
    assert_eq!(heard.error.unwrap().code, ErrorCode::NotFound);
    assert!(heard.finish.is_none());

    Tiny::new("llama").write(&path);
    let models = provider.models().await.unwrap();
    assert_eq!(
        (models[0].id.as_str(), models[0].context),
        ("late", Some(1024))
    );
    assert!(models[0].note.as_deref().unwrap().contains("toy"));
    let heard = hear(&provider, request("c", &["Hi"])).await;
    assert_eq!(heard.error, None);
    assert!(heard.finish.is_some());
}
