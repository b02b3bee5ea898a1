//! The decoder against a plain one, written from the definition with loops.

use super::{
    super::{
        decoder::Session,
        halt::{Cancel, Halt},
        model::LocalModel,
    },
    tiny::{FEED, HEAD_DIM, HEADS, KV_HEADS, LAYERS, Tiny, WIDTH},
};
use candle_core::quantized::GgmlDType;

type Rows = Vec<Vec<f64>>;

/// The network with loops, in double precision, all tokens at once.
struct Plain<'a>(&'a Tiny);

impl Plain<'_> {
    fn vector(&self, name: &str) -> Vec<f64> {
        let tensor = &self.0.tensors[name];
        let numbers: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
        numbers.into_iter().map(f64::from).collect()
    }

    fn linear(&self, name: &str, x: &Rows) -> Rows {
        let weight = self.vector(&format!("{name}.weight"));
        let bias = format!("{name}.bias");
        let bias = self
            .0
            .tensors
            .contains_key(&bias)
            .then(|| self.vector(&bias));
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        x.iter()
            .map(|row| {
                let out = weight.chunks(row.len()).map(|w| dot(w, row));
                match &bias {
                    Some(bias) => out.zip(bias).map(|(y, b)| y + b).collect(),
                    None => out.collect(),
                }
            })
            .collect()
    }

    fn norm(&self, name: &str, row: &[f64]) -> Vec<f64> {
        let mean = row.iter().map(|v| v * v).sum::<f64>() / row.len() as f64;
        let scale = 1.0 / (mean + 1e-5).sqrt();
        let weight = self.vector(name);
        row.iter().zip(weight).map(|(v, w)| v * scale * w).collect()
    }

    fn norms(&self, name: &str, x: &Rows) -> Rows {
        x.iter().map(|row| self.norm(name, row)).collect()
    }

    /// Norms each head where the file says so, and turns its pairs.
    fn turn(&self, norm: &str, x: &mut Rows) {
        for (position, row) in x.iter_mut().enumerate() {
            for head in row.chunks_mut(HEAD_DIM) {
                if self.0.tensors.contains_key(norm) {
                    head.copy_from_slice(&self.norm(norm, head));
                }
                for pair in 0..HEAD_DIM / 2 {
                    let (a, b) = match self.0.architecture {
                        "llama" => (2 * pair, 2 * pair + 1),
                        _ => (pair, pair + HEAD_DIM / 2),
                    };
                    let angle =
                        position as f64 / 10_000f64.powf(2.0 * pair as f64 / HEAD_DIM as f64);
                    let (sin, cos) = angle.sin_cos();
                    let (x, y) = (head[a], head[b]);
                    (head[a], head[b]) = (x * cos - y * sin, x * sin + y * cos);
                }
            }
        }
    }

    fn attend(q: &Rows, k: &Rows, v: &Rows) -> Rows {
        let head = |row: &[f64], h: usize| row[h * HEAD_DIM..(h + 1) * HEAD_DIM].to_vec();
        q.iter()
            .enumerate()
            .map(|(i, query)| {
                (0..HEADS)
                    .flat_map(|h| {
                        let shared = h / (HEADS / KV_HEADS);
                        let query = head(query, h);
                        let scores: Vec<f64> = k[..=i]
                            .iter()
                            .map(|key| {
                                let key = head(key, shared);
                                let dot: f64 = query.iter().zip(key).map(|(a, b)| a * b).sum();
                                (dot / (HEAD_DIM as f64).sqrt()).exp()
                            })
                            .collect();
                        let total: f64 = scores.iter().sum();
                        let mut mixed = vec![0.0; HEAD_DIM];
                        for (score, value) in scores.iter().zip(v) {
                            for (m, value) in mixed.iter_mut().zip(head(value, shared)) {
                                *m += score / total * value;
                            }
                        }
                        mixed
                    })
                    .collect()
            })
            .collect()
    }

    fn logits(&self, ids: &[u32]) -> Vec<f64> {
        let embedding = self.vector("token_embd.weight");
        let row = |&id: &u32| embedding[id as usize * WIDTH..][..WIDTH].to_vec();
        let mut x: Rows = ids.iter().map(row).collect();
        let add = |x: &mut Rows, y: Rows| {
            for (x, y) in x.iter_mut().flatten().zip(y.into_iter().flatten()) {
                *x += y;
            }
        };
        for i in 0..LAYERS {
            let name = |part: &str| format!("blk.{i}.{part}");
            let a = self.norms(&name("attn_norm.weight"), &x);
            let mut q = self.linear(&name("attn_q"), &a);
            let mut k = self.linear(&name("attn_k"), &a);
            let v = self.linear(&name("attn_v"), &a);
            self.turn(&name("attn_q_norm.weight"), &mut q);
            self.turn(&name("attn_k_norm.weight"), &mut k);
            let mixed = Self::attend(&q, &k, &v);
            add(&mut x, self.linear(&name("attn_output"), &mixed));
            let f = self.norms(&name("ffn_norm.weight"), &x);
            let mut gate = self.linear(&name("ffn_gate"), &f);
            let up = self.linear(&name("ffn_up"), &f);
            for (g, u) in gate.iter_mut().flatten().zip(up.into_iter().flatten()) {
                *g = *g / (1.0 + (-*g).exp()) * u;
            }
            assert_eq!(gate[0].len(), FEED);
            add(&mut x, self.linear(&name("ffn_down"), &gate));
        }
        let last = vec![self.norm("output_norm.weight", x.last().unwrap())];
        let head = if self.0.tensors.contains_key("output.weight") {
            "output"
        } else {
            "token_embd"
        };
        self.linear(head, &last).remove(0)
    }
}

fn feed(model: &LocalModel, session: &mut Session, ids: &[u32]) -> Vec<f32> {
    let hidden = model
        .network
        .feed(session, ids, &Cancel::default())
        .unwrap();
    model.network.logits(&hidden).unwrap()
}

fn farthest(a: &[f32], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| (f64::from(*a) - b).abs())
        .fold(0.0, f64::max)
}

fn some_ids(n: usize) -> Vec<u32> {
    (0..n as u32).map(|i| (i * 37 + 11) % 256).collect()
}

#[test]
fn equals_the_definition_for_each_architecture() {
    for architecture in ["llama", "qwen2", "qwen3"] {
        let tiny = Tiny::new(architecture);
        let model = tiny.load(1024);
        // One row, rows for the quantized kernel, and rows enough to be unpacked.
        for n in [1, 7, 40] {
            let ids = some_ids(n);
            let ours = feed(&model, &mut Session::default(), &ids);
            let far = farthest(&ours, &Plain(&tiny).logits(&ids));
            assert!(far < 1e-3, "{architecture}, {n} tokens: off by {far}");
        }
    }
}

#[test]
fn block_types_stay_near_the_definition() {
    for block_type in [
        GgmlDType::Q8_0,
        GgmlDType::Q5_1,
        GgmlDType::Q4_1,
        GgmlDType::F16,
    ] {
        let mut tiny = Tiny::new("llama");
        tiny.block_type = block_type;
        let model = tiny.load(1024);
        let ids = some_ids(30);
        let exact = Plain(&tiny).logits(&ids);
        let ours = feed(&model, &mut Session::default(), &ids);
        let far = farthest(&ours, &exact);
        let size = exact.iter().map(|v| v.abs()).fold(0.0, f64::max);
        assert!(far < size * 0.25, "{block_type:?}: off by {far} of {size}");
    }
}

#[test]
fn pieces_and_reuse_equal_a_fresh_session() {
    let tiny = Tiny::new("qwen3");
    let model = tiny.load(1024);
    let ids = some_ids(600);
    let exact = Plain(&tiny).logits(&ids);

    let mut pieces = Session::default();
    let mut last = Vec::new();
    // Beyond 256 and 512 positions the cache grows.
    for piece in [
        &ids[..1],
        &ids[1..30],
        &ids[30..258],
        &ids[258..599],
        &ids[599..],
    ] {
        last = feed(&model, &mut pieces, piece);
    }
    assert!(farthest(&last, &exact) < 1e-3);

    // Another turn that shares the first 100 tokens.
    let mut other = ids[..100].to_vec();
    other.extend(some_ids(50));
    assert_eq!(pieces.keep_common_prefix(&other), 100);
    let reused = feed(&model, &mut pieces, &other[100..]);
    assert!(farthest(&reused, &Plain(&tiny).logits(&other)) < 1e-3);
    assert_eq!(pieces.ids(), other);

    // The same prompt again: its last token must be fed for there to be an answer.
    assert_eq!(pieces.keep_common_prefix(&other), other.len() - 1);
}

#[test]
fn a_cancelled_feed_leaves_the_session_as_it_was() {
    let tiny = Tiny::new("llama");
    let model = tiny.load(1024);
    let ids = some_ids(300);
    let mut session = Session::default();
    feed(&model, &mut session, &ids[..200]);
    let cancel = Cancel::default();
    cancel.set();
    let halted = model.network.feed(&mut session, &ids[200..], &cancel);
    assert!(matches!(halted, Err(Halt::Cancelled)));
    assert_eq!(session.ids(), &ids[..200]);
    let last = feed(&model, &mut session, &ids[200..]);
    assert!(farthest(&last, &Plain(&tiny).logits(&ids)) < 1e-3);
}

#[test]
fn a_full_context_is_an_error_and_not_a_panic() {
    let model = Tiny::new("llama").load(64);
    let mut session = Session::default();
    feed(&model, &mut session, &some_ids(64));
    let full = model.network.feed(&mut session, &[1], &Cancel::default());
    assert!(matches!(full, Err(Halt::Failed(_))));
    assert_eq!(session.ids().len(), 64);
}

#[test]
fn a_head_of_its_own_and_rope_divisors_are_used() {
    let mut tiny = Tiny::new("llama");
    let plain = tiny.load(1024);
    let head = tiny.tensors["token_embd.weight"].affine(-1.0, 0.0).unwrap();
    tiny.tensors.insert("output.weight".into(), head);
    let ids = some_ids(5);
    let model = tiny.load(1024);
    let ours = feed(&model, &mut Session::default(), &ids);
    assert!(farthest(&ours, &Plain(&tiny).logits(&ids)) < 1e-3);

    let divisors = vec![8f32; HEAD_DIM / 2];
    let divisors =
        candle_core::Tensor::from_vec(divisors, HEAD_DIM / 2, &candle_core::Device::Cpu).unwrap();
    tiny.tensors.insert("rope_freqs.weight".into(), divisors);
    tiny.tensors.remove("output.weight");
    let slower = tiny.load(1024);
    let a = feed(&plain, &mut Session::default(), &ids);
    let b = feed(&slower, &mut Session::default(), &ids);
    assert_ne!(a, b);
}
