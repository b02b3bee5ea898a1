//! What is known about a model by its name.

/// What a model accepts and can do. The sources are
/// <https://docs.claude.com/en/docs/about-claude/models/overview> and
/// <https://docs.claude.com/en/docs/build-with-claude/extended-thinking>.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Traits {
    /// The token limit to ask for: the most that the model can write, or a sensible number.
    pub(super) limit: u32,
    /// Whether the model decides how much to think, so that no budget is set.
    pub(super) adaptive: bool,
    /// Whether the model thinks unless it is told not to.
    pub(super) thinks_unasked: bool,
    /// Which sampling parameters the model accepts.
    pub(super) knobs: Knobs,
    /// Whether the model continues a prefill.
    pub(super) prefill: bool,
}

/// Which sampling parameters a model accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Knobs {
    /// `temperature` and `top_p`.
    Both,
    /// One of the two at a time.
    One,
    /// None.
    None,
}

impl Traits {
    /// The traits of a model. An Anthropic model without a version counts as a new one. Any other
    /// name counts as a server that imitates the older API.
    pub(super) fn of(model: &str) -> Self {
        let name = model.to_lowercase();
        let ours = name.contains("claude");
        let version = match version(&name) {
            Some(version) if ours => version,
            _ if ours => (u32::MAX, 0),
            _ => {
                return Self {
                    limit: 8192,
                    adaptive: false,
                    thinks_unasked: false,
                    knobs: Knobs::Both,
                    prefill: false,
                };
            }
        };
        Self {
            limit: match version {
                (u32::MAX, _) => 8192,
                _ if version >= (4, 6) => 64_000,
                _ if version >= (3, 7) => 32_000,
                _ if version >= (3, 5) => 8192,
                _ => 4096,
            },
            adaptive: version >= (4, 6),
            thinks_unasked: version >= (5, 0),
            knobs: match version {
                _ if version >= (4, 7) => Knobs::None,
                _ if version >= (4, 0) => Knobs::One,
                _ => Knobs::Both,
            },
            prefill: ((3, 0)..=(4, 5)).contains(&version),
        }
    }
}

/// The version in a name such as `claude-3-7-sonnet-20250219`, `claude-opus-4-5` or
/// `anthropic/claude-sonnet-4.6`. Longer numbers are dates and are ignored.
fn version(name: &str) -> Option<(u32, u32)> {
    let (_, after) = name.split_once("claude")?;
    let number = |part: &str| {
        (part.len() <= 2)
            .then(|| part.parse::<u32>().ok())
            .flatten()
    };
    let mut parts = after.split(['-', '.', '@', ':', '_']).map(number);
    let major = parts.by_ref().flatten().next()?;
    let minor = parts.next().flatten().unwrap_or(0);
    Some((major, minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_version() {
        for (name, wanted) in [
            ("claude-3-opus-20240229", Some((3, 0))),
            ("claude-3-5-haiku-latest", Some((3, 5))),
            ("claude-3-7-sonnet-20250219", Some((3, 7))),
            ("claude-opus-4-20250514", Some((4, 0))),
            ("claude-opus-4-1-20250805", Some((4, 1))),
            ("claude-haiku-4-5@20251001", Some((4, 5))),
            ("anthropic/claude-sonnet-4.6", Some((4, 6))),
            ("claude-sonnet-5", Some((5, 0))),
            ("claude-opus-5-5", Some((5, 5))),
            ("claude-mythos-preview", None),
            ("glm-4", None),
        ] {
            assert_eq!(version(name), wanted, "{name}");
        }
    }

    #[test]
    fn versions_tell_what_a_model_takes() {
        for (name, prefill, adaptive) in [
            ("claude-2.1", false, false),
            ("claude-3-haiku-20240307", true, false),
            ("claude-sonnet-4-5", true, false),
            ("claude-opus-4-6", false, true),
            ("claude-sonnet-5", false, true),
            ("claude-mythos-preview", false, true),
            ("kimi-k2", false, false),
        ] {
            let traits = Traits::of(name);
            assert_eq!(
                (traits.prefill, traits.adaptive),
                (prefill, adaptive),
                "{name}"
            );
        }
        assert_eq!(Traits::of("claude-3-haiku-20240307").limit, 4096);
        assert_eq!(Traits::of("claude-opus-4-1").limit, 32_000);
        assert_eq!(Traits::of("new").limit, 8192);
        assert_eq!(Traits::of("claude-opus-4-7").knobs, Knobs::None);
    }
}
