//! Dates as HTTP writes them.

use std::time::{Duration, SystemTime};

/// Reads `Sun, 06 Nov 1994 08:49:37 GMT`, the one form that is still written.
pub(super) fn parse(text: &str) -> Option<SystemTime> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let mut words = text.split_whitespace().skip(1);
    let day: u64 = words.next()?.parse().ok()?;
    let month = words.next()?;
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let year: u64 = words.next()?.parse().ok()?;
    let mut time = words.next()?.split(':').map(|part| part.parse::<u64>());
    let mut part = || time.next()?.ok();
    let (hour, minute, second) = (part()?, part()?, part()?);
    if words.next() != Some("GMT")
        || !(1970..=9999).contains(&year)
        || !(1..=31).contains(&day)
        || hour > 23
        || minute > 59
        || second > 60
    {
        return None;
    }
    // Years are counted from March, so that the leap day is their last.
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1;
    // 719,468 days lie between 1 March of the year 0 and 1 January 1970.
    let seconds = ((days.checked_sub(719_468)? * 24 + hour) * 60 + minute) * 60 + second;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read() {
        let unix = |text| {
            parse(text).map(|time| {
                time.duration_since(SystemTime::UNIX_EPOCH)
                    .map_or(0, |since| since.as_secs())
            })
        };
        assert_eq!(unix("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(unix("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(unix("Thu, 29 Feb 2024 23:59:59 GMT"), Some(1_709_251_199));
        assert_eq!(unix("Fri, 01 Mar 2024 00:00:00 GMT"), Some(1_709_251_200));
        for wrong in [
            "",
            "soon",
            "Sun, 06 Nov 1994",
            "Sun, 06 Now 1994 08:49:37 GMT",
        ] {
            assert_eq!(unix(wrong), None);
        }
    }
}
