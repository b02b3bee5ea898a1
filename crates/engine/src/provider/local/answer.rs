//! One answer, from the request to the last token. Runs on a model thread.

use super::{
    decoder::Session,
    halt::{Cancel, Halt, internal},
    model::LocalModel,
    prompt::{self, Prompt},
    sampler::{Sampler, SamplingDefaults},
    sessions::Sessions,
};
use crate::provider::{
    ChatRequest, ProviderEvent, Sampling,
    blocks::Blocks,
    exchange::Ready,
    think::{Piece, ThinkParser},
};
use candle_core::Tensor;
use headwater_protocol::{Error, FinishReason, Stage, Usage};
use tokio::sync::mpsc::Sender;

/// The step in which the progress of a prompt is reported, in percent: at most 17 times.
const PROGRESS_STEP: usize = 6;

/// The channel for the events of an answer.
pub(super) struct EventSender {
    pub(super) events: Sender<Result<ProviderEvent, Error>>,
    pub(super) cancel: Cancel,
}

impl EventSender {
    /// Sends an event. Waits for room in the channel.
    ///
    /// # Errors
    /// [`Halt::Cancelled`] if the reader is gone.
    pub(super) fn send(&self, event: ProviderEvent) -> Result<(), Halt> {
        self.cancel.check()?;
        self.events
            .blocking_send(Ok(event))
            .map_err(|_| Halt::Cancelled)
    }
}

/// What an answer needs besides the request.
pub(super) struct AnswerContext<'a> {
    pub(super) model: &'a LocalModel,
    pub(super) sessions: &'a Sessions,
    pub(super) sampling: SamplingDefaults,
    pub(super) seed: Option<u64>,
    pub(super) max_new_tokens: usize,
}

impl AnswerContext<'_> {
    /// Answers a request. The session is put back into the cache unless there is a panic, because
    /// the next turn can use what was computed before a stop.
    ///
    /// # Errors
    /// [`Halt`], with a sentence for the reader if there is one.
    pub(super) fn answer(&self, request: &ChatRequest, out: &EventSender) -> Result<(), Halt> {
        let prompt = prompt::build(self.model, request, &out.cancel)?;
        if prompt.left_out > 0 {
            out.send(ProviderEvent::Stage(Stage::ContextTrimmed {
                messages: prompt.left_out,
            }))?;
        }
        let mut session = self.sessions.take(&request.conversation);
        let result = self.work(request, &prompt, &mut session, out);
        // Before the end is reported, because the next turn may follow at once.
        self.sessions.put(&request.conversation, session);
        let (usage, reason) = result?;
        out.send(ProviderEvent::Usage(usage))?;
        let word = match reason {
            FinishReason::Length => "length",
            _ => "stop",
        };
        out.send(ProviderEvent::Finished {
            reason,
            word: word.into(),
        })
    }

    fn work(
        &self,
        request: &ChatRequest,
        prompt: &Prompt,
        session: &mut Session,
        out: &EventSender,
    ) -> Result<(Usage, FinishReason), Halt> {
        let reused = session.keep_common_prefix(&prompt.ids);
        let hidden = self.read(&prompt.ids[reused..], session, out)?;
        let mut text = TextOut::new(out, prompt.spaces);
        let (written, reason) = self.write(request, hidden, session, &mut text)?;
        text.finish()?;
        let usage = Usage {
            input: prompt.ids.len() as u64,
            output: written as u64,
            cache_read: reused as u64,
            ..Usage::default()
        };
        Ok((usage, reason))
    }

    /// Feeds the prompt piece by piece and reports the progress.
    fn read(&self, ids: &[u32], session: &mut Session, out: &EventSender) -> Result<Tensor, Halt> {
        let network = &self.model.network;
        let pieces = ids.chunks(network.rows_at_once());
        let several = pieces.len() > 1;
        let (mut done, mut told) = (0, None);
        let mut hidden = None;
        for piece in pieces {
            let percent = done * 100 / ids.len();
            if several && told.is_none_or(|told| percent >= told + PROGRESS_STEP) {
                told = Some(percent);
                out.send(ProviderEvent::Stage(Stage::ReadingPrompt {
                    percent: percent as u8,
                }))?;
            }
            hidden = Some(network.feed(session, piece, &out.cancel)?);
            done += piece.len();
        }
        hidden.ok_or_else(|| internal("an empty prompt").into())
    }

    /// Writes until the model ends its turn or a limit is reached.
    fn write(
        &self,
        request: &ChatRequest,
        mut hidden: Tensor,
        session: &mut Session,
        text: &mut TextOut<'_>,
    ) -> Result<(usize, FinishReason), Halt> {
        let LocalModel {
            network,
            vocabulary,
            ..
        } = self.model;
        let limit = request
            .sampling
            .max_tokens
            .map_or(self.max_new_tokens, |n| n as usize)
            .max(1);
        let mut sampler = Sampler::new(self.sampling(&request.sampling), self.seed);
        let mut decoder = vocabulary.decoder();
        let mut written = 0;
        let reason = loop {
            text.out.cancel.check()?;
            let logits = network.logits(&hidden)?;
            let id = sampler
                .choose(logits, session.ids())
                .ok_or_else(|| internal("the network gave no usable number"))?;
            if vocabulary.is_end(id) {
                break FinishReason::Stop;
            }
            written += 1;
            text.push(decoder.push(id))?;
            if written >= limit || session.ids().len() >= network.context() {
                break FinishReason::Length;
            }
            hidden = network.feed(session, &[id], &text.out.cancel)?;
        };
        text.push(decoder.finish())?;
        Ok((written, reason))
    }

    fn sampling(&self, asked: &Sampling) -> SamplingDefaults {
        let usable = |value: Option<f32>| value.filter(|v| v.is_finite() && *v >= 0.0);
        SamplingDefaults {
            temperature: usable(asked.temperature).unwrap_or(self.sampling.temperature),
            top_p: usable(asked.top_p).unwrap_or(self.sampling.top_p),
            ..self.sampling
        }
    }
}

/// Writes the text of an answer, and before it the reasoning of models that reason.
struct TextOut<'a> {
    out: &'a EventSender,
    /// The number of leading spaces to skip, because the prefill ends with them.
    skip: usize,
    think: ThinkParser,
    blocks: Blocks,
    ready: Ready,
}

impl<'a> TextOut<'a> {
    fn new(out: &'a EventSender, skip: usize) -> Self {
        Self {
            out,
            skip,
            think: ThinkParser::default(),
            blocks: Blocks::default(),
            ready: Ready::default(),
        }
    }

    fn push(&mut self, text: String) -> Result<(), Halt> {
        let text = self.without_known_spaces(text);
        let mut parts = Vec::new();
        self.think.push(&text, &mut parts);
        self.tell(parts)
    }

    fn tell(&mut self, parts: Vec<Piece>) -> Result<(), Halt> {
        for part in parts {
            match part {
                Piece::Text(kind, text) => self.blocks.say(kind, &text, &mut self.ready),
                Piece::WasReasoning => self.blocks.was_thought(&mut self.ready),
            }
        }
        self.send()
    }

    fn send(&mut self) -> Result<(), Halt> {
        self.ready
            .drain(..)
            .try_for_each(|event| self.out.send(event))
    }

    fn without_known_spaces(&mut self, text: String) -> String {
        if self.skip == 0 || text.is_empty() {
            return text;
        }
        let shown = text.trim_start_matches(' ');
        let spaces = text.len() - shown.len();
        let skipped = spaces.min(self.skip);
        self.skip = if shown.is_empty() {
            self.skip - skipped
        } else {
            0
        };
        text[skipped..].to_owned()
    }

    fn finish(mut self) -> Result<(), Halt> {
        let mut parts = Vec::new();
        self.think.flush(&mut parts);
        self.tell(parts)?;
        self.blocks.close(&mut self.ready);
        self.send()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests {
    use super::*;
    use headwater_protocol::BlockKind;

    /// What comes of pieces of text, blocks of one kind joined.
    fn told(pieces: &[&str]) -> Vec<(BlockKind, String)> {
        let (events, mut queue) = tokio::sync::mpsc::channel(64);
        let out = EventSender {
            events,
            cancel: Cancel::default(),
        };
        let mut text = TextOut::new(&out, 0);
        for piece in pieces {
            assert!(text.push((*piece).into()).is_ok());
        }
        assert!(text.finish().is_ok());
        drop(out);
        let mut blocks = Vec::new();
        while let Ok(event) = queue.try_recv() {
            match event.unwrap() {
                ProviderEvent::BlockStarted { index, kind, .. } => {
                    assert_eq!(index as usize, blocks.len());
                    blocks.push((kind, String::new()));
                }
                ProviderEvent::Delta { index, text } => blocks[index as usize].1 += &text,
                _ => {}
            }
        }
        blocks
    }

    #[test]
    fn thinking_aloud_is_no_text() {
        let text = |text: &str| (BlockKind::Text, text.to_owned());
        assert_eq!(told(&[]), []);
        assert_eq!(told(&["Hel", "lo"]), [text("Hello")]);
        assert_eq!(
            told(&["<thi", "nk>\nHm", ".\n</think>\n\n", "Yes."]),
            [(BlockKind::Reasoning, "Hm.\n".to_owned()), text("Yes.")]
        );
        assert_eq!(told(&["a <think> b"]), [text("a <think> b")]);
    }
}
