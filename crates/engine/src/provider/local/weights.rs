//! The weights of a model. They are read, checked, and converted to formats that a CPU multiplies
//! fast.

use super::{
    gguf::{Fault, brief, tensor_bytes},
    shape::Shape,
};
use candle_core::quantized::gguf_file::Content;
use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_core::{Device, Module, Tensor};
use std::{
    io::{Read, Seek},
    sync::Arc,
};

/// The number of rows from which on a matrix is unpacked and multiplied as f32. By measurement,
/// that is faster than the quantized kernel, which is made for one row. It is also more exact.
const UNPACK_FROM_ROWS: usize = 24;

/// A quantized matrix and its bias.
pub(super) struct Linear {
    packed: Arc<QTensor>,
    kernel: QMatMul,
    bias: Option<Tensor>,
}

impl Linear {
    /// `x · Wᵀ + b` for the rows of `x`.
    pub(super) fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let y = match &self.kernel {
            QMatMul::QTensor(packed) if x.dim(0)? >= UNPACK_FROM_ROWS => {
                x.matmul(&packed.dequantize(&Device::Cpu)?.t()?)?
            }
            kernel => kernel.forward(x)?,
        };
        match &self.bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }
}

/// One layer of the transformer.
pub(super) struct Layer {
    pub(super) attention_norm: Tensor,
    pub(super) query: Linear,
    pub(super) key: Linear,
    pub(super) value: Linear,
    pub(super) output: Linear,
    /// The norms of each head's query and key (qwen3).
    pub(super) query_norm: Option<Tensor>,
    pub(super) key_norm: Option<Tensor>,
    pub(super) feed_norm: Tensor,
    pub(super) gate: Linear,
    pub(super) up: Linear,
    pub(super) down: Linear,
}

/// All weights of a network.
pub(super) struct Weights {
    pub(super) embedding: Arc<QTensor>,
    pub(super) layers: Vec<Layer>,
    pub(super) norm: Tensor,
    /// The output projection: from the last hidden state to the logits.
    pub(super) head: Linear,
    /// The divisors of the rotary frequencies (Llama 3.1 and later).
    pub(super) rope_divisors: Option<Vec<f32>>,
}

impl Weights {
    /// Reads all weights, and compares the dimensions of each tensor with `shape`.
    ///
    /// # Errors
    /// A [`Fault`] for a tensor that is missing, unreadable, or of other dimensions.
    pub(super) fn read<R: Read + Seek>(
        content: &Content,
        file: &mut R,
        shape: &Shape,
    ) -> Result<Self, Fault> {
        let mut read = Tensors { content, file };
        let layers = (0..shape.layers)
            .map(|i| read.layer(i, shape))
            .collect::<Result<_, _>>()?;
        let (width, vocabulary) = (shape.width, shape.vocabulary);
        // Small models use the same matrix for embedding and output.
        let (head, embedding) = if read.has("output.weight") {
            let embedding = read.packed("token_embd.weight", &[vocabulary, width])?;
            (
                read.linear("output", vocabulary, width)?,
                Arc::new(embedding),
            )
        } else {
            let head = read.linear("token_embd", vocabulary, width)?;
            let embedding = head.packed.clone();
            (head, embedding)
        };
        Ok(Self {
            embedding,
            layers,
            norm: read.plain("output_norm.weight", &[width])?,
            head,
            rope_divisors: read.rope_divisors(shape)?,
        })
    }
}

struct Tensors<'a, R> {
    content: &'a Content,
    file: &'a mut R,
}

impl<R: Read + Seek> Tensors<'_, R> {
    fn has(&self, name: &str) -> bool {
        self.content.tensor_infos.contains_key(name)
    }

    fn packed(&mut self, name: &str, sides: &[usize]) -> Result<QTensor, Fault> {
        let info = self
            .content
            .tensor_infos
            .get(name)
            .ok_or_else(|| Fault::Damaged(format!("the tensor {name} is missing")))?;
        let row_fits = sides
            .last()
            .is_some_and(|side| side.is_multiple_of(info.ggml_dtype.block_size()));
        if info.shape.dims() != sides || !row_fits || tensor_bytes(info).is_none() {
            return Err(Fault::Damaged(format!(
                "the tensor {name} has the sides {:?} in place of {sides:?}",
                info.shape.dims()
            )));
        }
        self.content
            .tensor(self.file, name, &Device::Cpu)
            .map_err(|error| unreadable(name, &error))
    }

    fn plain(&mut self, name: &str, sides: &[usize]) -> Result<Tensor, Fault> {
        self.packed(name, sides)?
            .dequantize(&Device::Cpu)
            .map_err(|error| unreadable(name, &error))
    }

    fn plain_if_there(&mut self, name: &str, side: usize) -> Result<Option<Tensor>, Fault> {
        self.has(name)
            .then(|| self.plain(name, &[side]))
            .transpose()
    }

    fn linear(&mut self, name: &str, rows: usize, columns: usize) -> Result<Linear, Fault> {
        let weight = format!("{name}.weight");
        let packed = self.packed(&weight, &[rows, columns])?;
        let packed = repack(packed, columns).map_err(|error| unreadable(&weight, &error))?;
        let packed = Arc::new(packed);
        Ok(Linear {
            kernel: QMatMul::from_arc(packed.clone())
                .map_err(|error| unreadable(&weight, &error))?,
            packed,
            bias: self.plain_if_there(&format!("{name}.bias"), rows)?,
        })
    }

    fn layer(&mut self, i: usize, shape: &Shape) -> Result<Layer, Fault> {
        let Shape {
            width,
            feed_forward,
            head_dim,
            ..
        } = *shape;
        let name = |part: &str| format!("blk.{i}.{part}");
        let (queries, keys) = (shape.heads * head_dim, shape.kv_heads * head_dim);
        Ok(Layer {
            attention_norm: self.plain(&name("attn_norm.weight"), &[width])?,
            query: self.linear(&name("attn_q"), queries, width)?,
            key: self.linear(&name("attn_k"), keys, width)?,
            value: self.linear(&name("attn_v"), keys, width)?,
            output: self.linear(&name("attn_output"), width, queries)?,
            query_norm: self.plain_if_there(&name("attn_q_norm.weight"), head_dim)?,
            key_norm: self.plain_if_there(&name("attn_k_norm.weight"), head_dim)?,
            feed_norm: self.plain(&name("ffn_norm.weight"), &[width])?,
            gate: self.linear(&name("ffn_gate"), feed_forward, width)?,
            up: self.linear(&name("ffn_up"), feed_forward, width)?,
            down: self.linear(&name("ffn_down"), width, feed_forward)?,
        })
    }

    fn rope_divisors(&mut self, shape: &Shape) -> Result<Option<Vec<f32>>, Fault> {
        const NAME: &str = "rope_freqs.weight";
        let Some(divisors) = self.plain_if_there(NAME, shape.head_dim / 2)? else {
            return Ok(None);
        };
        let divisors = divisors
            .to_vec1::<f32>()
            .map_err(|error| unreadable(NAME, &error))?;
        if divisors.iter().any(|d| !d.is_normal()) {
            return Err(Fault::Damaged(format!("{NAME} holds no usable numbers")));
        }
        Ok(Some(divisors))
    }
}

/// Converts block types to Q8_0 if candle is slow with them. It has no vector kernel for three
/// block types (13 tokens a second instead of 33), and keeps 16-bit weights as f32. Q8_0 is its
/// fastest type, and keeps a 4- or 5-bit value to less than 0.4 % of its block's range.
fn repack(packed: QTensor, columns: usize) -> candle_core::Result<QTensor> {
    match packed.dtype() {
        GgmlDType::Q4_1 | GgmlDType::Q5_0 | GgmlDType::Q5_1 | GgmlDType::F16 | GgmlDType::BF16
            if columns.is_multiple_of(GgmlDType::Q8_0.block_size()) =>
        {
            QTensor::quantize(&packed.dequantize(&Device::Cpu)?, GgmlDType::Q8_0)
        }
        _ => Ok(packed),
    }
}

fn unreadable(name: &str, error: &candle_core::Error) -> Fault {
    Fault::Damaged(format!(
        "the tensor {name} cannot be read: {}",
        brief(error)
    ))
}
