//! The three spellings of time that signatures use, and the calendar between them.
//!
//! Called by the claim (parse) and by error rendering. Times are milliseconds since 1970 UTC; years 1970 to 9999.

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
    let last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => return None,
    };
    if year < 1970 || day == 0 || day > last {
        return None;
    }
    // Years start in March, so that the leap day is the last of its year.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let day_of_year = (153 * m + 2) / 5 + day - 1;
    Some(y * 365 + y / 4 - y / 100 + y / 400 + day_of_year - 719_468)
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
    let (y, m, d, h, min, s) = civil(ms);
    format!("{y:04}{m:02}{d:02}T{h:02}{min:02}{s:02}Z")
}

/// Renders `yyyy-MM-dd'T'HH:mm:ss'Z'`, as error bodies have it.
pub(super) fn render_iso(ms: u64) -> String {
    let (y, m, d, h, min, s) = civil(ms);
    format!("{y:04}-{m:02}-{d:02}T{h:02}:{min:02}:{s:02}Z")
}

fn civil(ms: u64) -> (u64, u64, u64, u64, u64, u64) {
    let seconds = ms / 1000;
    let (days, clock) = (seconds / DAY_S + 719_468, seconds % DAY_S);
    let era = days / 146_097;
    let day = days % 146_097;
    let year_of_era = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let m = (5 * day_of_year + 2) / 153;
    let (month, carry) = if m < 10 { (m + 3, 0) } else { (m - 9, 1) };
    let year = year_of_era + era * 400 + carry;
    (year, month, day_of_year - (153 * m + 2) / 5 + 1, clock / 3600, clock / 60 % 60, clock % 60)
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
