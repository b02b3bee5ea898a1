//! The transformer: llama, qwen2 and qwen3 in one, on candle's CPU kernels.
//!
//! All threads share the weights. The key-value cache of one conversation is a [`Session`].

use super::{
    halt::{Cancel, Halt, internal},
    shape::{Rope, Shape},
    weights::{Layer, Linear, Weights},
};
use candle_core::{DType, Device, Tensor};
use candle_nn::{ops, rotary_emb};

/// The number of positions by which a session's cache grows at a time.
const GROW_BY: usize = 256;

/// The key-value cache of one conversation: the keys and values of each layer for [`Session::ids`].
#[derive(Default)]
pub(super) struct Session {
    cache: Vec<(Tensor, Tensor)>,
    capacity: usize,
    ids: Vec<u32>,
}

impl Session {
    /// The tokens whose keys and values are cached.
    pub(super) fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Keeps the common prefix with `prompt`, except for the last token of the prompt, which must
    /// be fed to get an answer. Returns the number of tokens that need not be fed again.
    pub(super) fn keep_common_prefix(&mut self, prompt: &[u32]) -> usize {
        let common = self
            .ids
            .iter()
            .zip(prompt)
            .take_while(|(a, b)| a == b)
            .count()
            .min(prompt.len().saturating_sub(1));
        self.ids.truncate(common);
        common
    }

    /// The memory of the cache in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.cache
            .iter()
            .map(|(keys, values)| (keys.elem_count() + values.elem_count()) * size_of::<f32>())
            .sum()
    }

    /// Makes room for `total` positions.
    fn reserve(&mut self, total: usize, shape: &Shape) -> candle_core::Result<()> {
        if total <= self.capacity {
            return Ok(());
        }
        let capacity = total.next_multiple_of(GROW_BY);
        let used = self.ids.len();
        let empty = || {
            let sides = (shape.kv_heads, capacity, shape.head_dim);
            Tensor::zeros(sides, DType::F32, &Device::Cpu)
        };
        let mut grown = Vec::with_capacity(shape.layers);
        for i in 0..shape.layers {
            let (keys, values) = (empty()?, empty()?);
            if let Some((old_keys, old_values)) = self.cache.get(i).filter(|_| used > 0) {
                keys.slice_set(&old_keys.narrow(1, 0, used)?.contiguous()?, 1, 0)?;
                values.slice_set(&old_values.narrow(1, 0, used)?.contiguous()?, 1, 0)?;
            }
            grown.push((keys, values));
        }
        self.cache = grown;
        self.capacity = capacity;
        Ok(())
    }
}

/// A network ready to run. Shared by all threads.
pub(super) struct Network {
    shape: Shape,
    weights: Weights,
    context: usize,
    cos: Tensor,
    sin: Tensor,
}

impl Network {
    /// Prepares the tables for up to `context` tokens.
    ///
    /// # Errors
    /// The error of candle, such as for too little memory or wrong sizes.
    pub(super) fn new(shape: Shape, weights: Weights, context: usize) -> candle_core::Result<Self> {
        let angles = angles(&shape, weights.rope_divisors.as_deref(), context)?;
        Ok(Self {
            cos: angles.cos()?,
            sin: angles.sin()?,
            shape,
            weights,
            context,
        })
    }

    /// The most tokens that a session can hold.
    pub(super) fn context(&self) -> usize {
        self.context
    }

    /// The number of prompt tokens to feed at once. More is faster (the matrices are unpacked once
    /// for all of them) and takes more memory. Cancelling does not wait for them: see
    /// [`Self::feed`].
    pub(super) fn rows_at_once(&self) -> usize {
        match self.shape.layer_weights() {
            0..16_000_000 => 128,
            16_000_000..64_000_000 => 64,
            _ => 32,
        }
    }

    /// Feeds tokens and returns the hidden state of the last one. Cancellation is checked before
    /// each matrix. The session is unchanged if this fails.
    ///
    /// # Errors
    /// [`Halt::Cancelled`], or a failure if the context is full or candle fails.
    pub(super) fn feed(
        &self,
        session: &mut Session,
        ids: &[u32],
        cancel: &Cancel,
    ) -> Result<Tensor, Halt> {
        let total = session.ids.len() + ids.len();
        if ids.is_empty() || total > self.context {
            return Err(internal("fed no token, or more than the context holds").into());
        }
        session.reserve(total, &self.shape)?;
        let pass = Pass::new(self, session.ids.len(), ids.len(), cancel)?;
        let mut x = self
            .weights
            .embedding
            .embedding(&Tensor::new(ids, &Device::Cpu)?)?;
        for (layer, (keys, values)) in self.weights.layers.iter().zip(&session.cache) {
            x = (&x + pass.attention(layer, &x, keys, values)?)?;
            x = (&x + pass.feed_forward(layer, &x)?)?;
        }
        session.ids.extend_from_slice(ids);
        Ok(x.narrow(0, ids.len() - 1, 1)?.contiguous()?)
    }

    /// The logits: one number for each token of the vocabulary, higher if it is more likely to
    /// follow.
    ///
    /// # Errors
    /// The error of candle.
    pub(super) fn logits(&self, hidden: &Tensor) -> Result<Vec<f32>, Halt> {
        let x = ops::rms_norm(hidden, &self.weights.norm, self.shape.epsilon)?;
        Ok(self.weights.head.forward(&x)?.squeeze(0)?.to_vec1()?)
    }
}

/// The rotary angle of each position (row) and pair (column).
fn angles(shape: &Shape, divisors: Option<&[f32]>, context: usize) -> candle_core::Result<Tensor> {
    let pairs = shape.head_dim / 2;
    let frequencies: Vec<f32> = (0..pairs)
        .map(|i| {
            let exponent = (2 * i) as f32 / shape.head_dim as f32;
            let divisor = divisors.and_then(|d| d.get(i)).copied().unwrap_or(1.0);
            1.0 / (shape.rope_base.powf(exponent) * divisor * shape.rope_factor)
        })
        .collect();
    let frequencies = Tensor::from_vec(frequencies, (1, pairs), &Device::Cpu)?;
    Tensor::arange(0, context as u32, &Device::Cpu)?
        .to_dtype(DType::F32)?
        .reshape((context, 1))?
        .matmul(&frequencies)
}

/// One forward pass of some tokens through all layers.
struct Pass<'a> {
    shape: &'a Shape,
    cancel: &'a Cancel,
    /// The number of earlier tokens.
    start: usize,
    rows: usize,
    cos: Tensor,
    sin: Tensor,
    /// The causal mask: minus infinity where a token would see a later one. `None` for a single
    /// token.
    mask: Option<Tensor>,
}

impl<'a> Pass<'a> {
    fn new(
        network: &'a Network,
        start: usize,
        rows: usize,
        cancel: &'a Cancel,
    ) -> candle_core::Result<Self> {
        let mask = if rows > 1 {
            let row = |i: usize| {
                (0..start + rows).map(move |j| {
                    if j > start + i {
                        f32::NEG_INFINITY
                    } else {
                        0.0
                    }
                })
            };
            let mask: Vec<f32> = (0..rows).flat_map(row).collect();
            let sides = (1, rows, start + rows);
            Some(Tensor::from_vec(mask, sides, &Device::Cpu)?)
        } else {
            None
        };
        Ok(Self {
            shape: &network.shape,
            cos: network.cos.narrow(0, start, rows)?,
            sin: network.sin.narrow(0, start, rows)?,
            cancel,
            start,
            rows,
            mask,
        })
    }

    fn linear(&self, linear: &Linear, x: &Tensor) -> Result<Tensor, Halt> {
        self.cancel.check()?;
        Ok(linear.forward(x)?)
    }

    /// Rows of all heads → heads × rows × numbers.
    fn by_head(&self, x: &Tensor, heads: usize) -> candle_core::Result<Tensor> {
        x.reshape((self.rows, heads, self.shape.head_dim))?
            .transpose(0, 1)?
            .contiguous()
    }

    /// Splits by head, applies the norms (qwen3) and rotates by position.
    fn turned(
        &self,
        x: &Tensor,
        heads: usize,
        norm: Option<&Tensor>,
    ) -> candle_core::Result<Tensor> {
        let mut x = self.by_head(x, heads)?;
        if let Some(norm) = norm {
            x = ops::rms_norm(&x, norm, self.shape.epsilon)?;
        }
        let x = x.unsqueeze(0)?;
        let turned = match self.shape.rope {
            Rope::Neighbours => rotary_emb::rope_i(&x, &self.cos, &self.sin)?,
            Rope::Halves => rotary_emb::rope(&x, &self.cos, &self.sin)?,
        };
        turned.squeeze(0)
    }

    fn attention(
        &self,
        layer: &Layer,
        x: &Tensor,
        keys: &Tensor,
        values: &Tensor,
    ) -> Result<Tensor, Halt> {
        let Shape {
            heads,
            kv_heads,
            head_dim,
            epsilon,
            ..
        } = *self.shape;
        let (rows, total) = (self.rows, self.start + self.rows);
        let x = ops::rms_norm(x, &layer.attention_norm, epsilon)?;

        let key = self.linear(&layer.key, &x)?;
        let key = self.turned(&key, kv_heads, layer.key_norm.as_ref())?;
        keys.slice_set(&key, 1, self.start)?;
        let value = self.linear(&layer.value, &x)?;
        values.slice_set(&self.by_head(&value, kv_heads)?, 1, self.start)?;

        // Heads that share keys (grouped-query attention) are rows of one product, so that nothing
        // is repeated.
        let query = self.linear(&layer.query, &x)?;
        let query = self.turned(&query, heads, layer.query_norm.as_ref())?;
        let query = (query.reshape((kv_heads, heads / kv_heads * rows, head_dim))?
            * (1.0 / (head_dim as f64).sqrt()))?;
        let mut scores = query.matmul(&keys.narrow(1, 0, total)?.t()?)?;
        if let Some(mask) = &self.mask {
            let sides = scores.shape().clone();
            scores = scores
                .reshape((heads, rows, total))?
                .broadcast_add(mask)?
                .reshape(sides)?;
        }
        self.cancel.check()?;
        let mixed = ops::softmax_last_dim(&scores)?
            .matmul(&values.narrow(1, 0, total)?)?
            .reshape((heads, rows, head_dim))?
            .transpose(0, 1)?
            .reshape((rows, heads * head_dim))?;
        self.linear(&layer.output, &mixed)
    }

    fn feed_forward(&self, layer: &Layer, x: &Tensor) -> Result<Tensor, Halt> {
        let x = ops::rms_norm(x, &layer.feed_norm, self.shape.epsilon)?;
        let gate = ops::silu(&self.linear(&layer.gate, &x)?)?;
        let x = (gate * self.linear(&layer.up, &x)?)?;
        self.linear(&layer.down, &x)
    }
}
