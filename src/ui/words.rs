//! Formats numbers and durations for people. Integers only: formatting floats costs 20 kB of
//! WebAssembly.

/// `1248` → `1,248`.
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number with its noun: `1 word`, `1,248 words`.
pub(crate) fn counted(n: u64, one: &str, many: &str) -> String {
    [count(n).as_str(), " ", if n == 1 { one } else { many }].concat()
}

/// A measured duration: `40 ms`, `0.24 s`, `3.4 s`, `47 s`, `2 min 5 s`.
pub(crate) fn duration(ms: u64) -> String {
    match ms {
        0..100 => format!("{ms} ms"),
        100..1_000 => format!("0.{:02} s", ms / 10),
        1_000..10_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        _ => elapsed(ms),
    }
}

/// A running duration, in whole seconds: `12 s`, `2 min 5 s`.
pub(crate) fn elapsed(ms: u64) -> String {
    let seconds = ms / 1_000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

/// Pieces per second, with one decimal below ten.
pub(crate) fn rate(pieces: u64, ms: u64) -> Option<String> {
    if ms == 0 || pieces == 0 {
        return None;
    }
    let tenths = pieces.saturating_mul(10_000) / ms;
    Some(if tenths < 100 {
        format!("{}.{}", tenths / 10, tenths % 10)
    } else {
        count((tenths + 5) / 10)
    })
}

/// The last part of `provider/model`, for use without a catalog.
pub(crate) fn model_name(id: &str) -> &str {
    id.split_once('/').map_or(id, |(_, model)| model)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (n, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(count(n), text);
        }
        assert_eq!(counted(1, "word", "words"), "1 word");
        assert_eq!(counted(1_248, "word", "words"), "1,248 words");
    }

    #[test]
    fn times_are_short() {
        for (ms, text) in [
            (40, "40 ms"),
            (240, "0.24 s"),
            (3_460, "3.4 s"),
            (47_900, "47 s"),
            (125_000, "2 min 5 s"),
            (3_720_000, "1 h 2 min"),
        ] {
            assert_eq!(duration(ms), text);
        }
        assert_eq!(elapsed(900), "0 s");
    }

    #[test]
    fn rates_have_a_decimal_only_when_slow() {
        assert_eq!(rate(10, 4_000).as_deref(), Some("2.5"));
        assert_eq!(rate(72, 2_000).as_deref(), Some("36"));
        assert_eq!(rate(1, 0), None);
    }
}
