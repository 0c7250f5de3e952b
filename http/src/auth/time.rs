//! The three spellings of time that signatures use.
//!
//! Called by the claim (parse) and by error rendering. Times are milliseconds since 1970 UTC; years 1970 to 9999.

use nilas_engine::calendar::{Civil, days_of_date};

const DAY_S: u64 = 86_400;

/// Parses `yyyyMMdd'T'HHmmss'Z'` to milliseconds.
pub(super) fn parse_timestamp(text: &str) -> Option<u64> {
    let (date, clock) = text.split_once('T')?;
    let clock = clock.strip_suffix('Z')?;
    if clock.len() != 6 {
        return None;
    }
    let (hour, minute, second) = (digits(clock, 0, 2)?, digits(clock, 2, 4)?, digits(clock, 4, 6)?);
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    Some((parse_date(date)? * DAY_S + hour * 3600 + minute * 60 + second) * 1000)
}

/// Parses `yyyyMMdd` to days since 1970.
pub(super) fn parse_date(text: &str) -> Option<u64> {
    if text.len() != 8 {
        return None;
    }
    let (year, month, day) = (digits(text, 0, 4)?, digits(text, 4, 6)?, digits(text, 6, 8)?);
    days_of_date(year, month, day)
}

/// Parses the `Date` header: an HTTP date, or the compact form that `x-amz-date` has.
pub(super) fn parse_date_header(text: &str) -> Option<u64> {
    if let Some(ms) = parse_timestamp(text) {
        return Some(ms);
    }
    let time = httpdate::parse_http_date(text).ok()?;
    let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok().filter(|ms| ms / 1000 < 253_402_300_800)
}

/// Renders `yyyyMMdd'T'HHmmss'Z'`.
pub(super) fn render_timestamp(ms: u64) -> String {
    let Civil { year, month, day, hour, minute, second, .. } = Civil::of_ms(ms);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// Renders `yyyy-MM-dd'T'HH:mm:ss'Z'`, as error bodies have it.
pub(super) fn render_iso(ms: u64) -> String {
    let Civil { year, month, day, hour, minute, second, .. } = Civil::of_ms(ms);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

fn digits(text: &str, from: usize, to: usize) -> Option<u64> {
    let part = text.get(from..to)?;
    part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps() {
        let check = |text: &str, expected: Option<u64>| assert_eq!(parse_timestamp(text), expected, "{text}");
        check("19700101T000000Z", Some(0));
        check("20130524T000000Z", Some(1_369_353_600_000));
        check("20240229T235959Z", Some(1_709_251_199_000));
        check("20230229T000000Z", None);
        check("20241301T000000Z", None);
        check("20240100T000000Z", None);
        check("20240101T240000Z", None);
        check("20240101T000000", None);
        check("2024-101T000000Z", None);
        check("20240101T0000+1Z", None);
        check("日本0101T000000Z", None);
        check("", None);
    }

    #[test]
    fn rendering_undoes_parsing() {
        for day in (0..400_000u64).step_by(13) {
            let ms = (day * DAY_S % 250_000_000_000 + 3_723) * 1000;
            assert_eq!(parse_timestamp(&render_timestamp(ms)), Some(ms));
        }
        assert_eq!(render_iso(1_369_353_600_000), "2013-05-24T00:00:00Z");
    }

    #[test]
    fn date_headers() {
        assert_eq!(parse_date_header("Fri, 24 May 2013 00:00:00 GMT"), Some(1_369_353_600_000));
        assert_eq!(parse_date_header("20130524T000000Z"), Some(1_369_353_600_000));
        assert_eq!(parse_date_header("yesterday"), None);
    }
}
