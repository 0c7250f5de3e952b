//! Moments as policies write them: ISO 8601 in the forms of the W3C note that AWS names, or seconds since 1970.

/// Reads a moment, as milliseconds since 1970; finer parts of a second are left out.
pub(crate) fn parse(text: &str) -> Option<i64> {
    if let Some(seconds) = epoch(text) {
        return Some(seconds);
    }
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let mut parts = date.split('-');
    let year = digits(parts.next()?, 4)?;
    let (month, day) = (parts.next(), parts.next());
    if parts.next().is_some() || (time.is_some() && day.is_none()) {
        return None;
    }
    let month = month.map_or(Some(1), |month| digits(month, 2))?;
    let day = day.map_or(Some(1), |day| digits(day, 2))?;
    if !(1..=12).contains(&month) || day < 1 || day > days_of(year, month) {
        return None;
    }
    let midnight = days_before(year, month, day) * 86_400_000;
    match time {
        None => Some(midnight),
        Some(time) => Some(midnight + time_of_day(time)?),
    }
}

/// Seconds since 1970, with or without a fraction.
fn epoch(text: &str) -> Option<i64> {
    let (sign, number) = match text.strip_prefix('-') {
        Some(number) => (-1, number),
        None => (1, text),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // Four digits are a year, as everywhere in ISO 8601.
    if !is_number(whole) || !is_number(fraction) || (number == whole && sign == 1 && whole.len() == 4) {
        return None;
    }
    let seconds: i64 = whole.parse().ok()?;
    Some(sign * (seconds.checked_mul(1_000)?.checked_add(thousandths(fraction))?))
}

/// `hh:mm`, `hh:mm:ss` or `hh:mm:ss.s…`, and `Z` or an offset.
fn time_of_day(text: &str) -> Option<i64> {
    let zone = text.find(['Z', '+', '-'])?;
    let (clock, zone) = text.split_at(zone);
    let offset = match zone.split_at_checked(1)? {
        ("Z", "") => 0,
        (sign, offset) => {
            let (hours, minutes) = offset.split_once(':').or_else(|| offset.split_at_checked(2))?;
            let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
            if sign == "Z" || hours > 23 || minutes > 59 {
                return None;
            }
            (hours * 60 + minutes) * if sign == "-" { -60_000 } else { 60_000 }
        }
    };
    let mut parts = clock.split(':');
    let (hour, minute) = (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let (second, fraction) = match parts.next() {
        None => (0, 0),
        Some(second) => match second.split_once('.') {
            None => (digits(second, 2)?, 0),
            Some((second, fraction)) => {
                let is_fraction = !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
                (digits(second, 2)?, if is_fraction { thousandths(fraction) } else { return None })
            }
        },
    };
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    Some((hour * 3_600 + minute * 60 + second) * 1_000 + fraction - offset)
}

/// The first three digits of a fraction.
fn thousandths(fraction: &str) -> i64 {
    let digits = fraction.bytes().chain([b'0'; 3]).take(3);
    digits.fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'))
}

fn digits(text: &str, count: usize) -> Option<i64> {
    let fits = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| text.parse().ok()).flatten()
}

fn days_of(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date. Years are counted from March, so that the day that not every year has is the last.
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let days_to_march = 365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    days_to_march + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        let check = |text: &str, want: Option<i64>| assert_eq!(parse(text), want, "{text}");
        check("1970-01-01T00:00:00Z", Some(0));
        check("1970", Some(0));
        check("2000-03-01", Some(951_868_800_000));
        check("2000-02-29", Some(951_782_400_000));
        check("1900-02-29", None);
        check("2026-11", Some(1_793_491_200_000));
        check("2020-01-01T00:00:01Z", Some(1_577_836_801_000));
        check("2020-01-01T00:00Z", Some(1_577_836_800_000));
        check("2020-01-01T00:00:01.2345Z", Some(1_577_836_801_234));
        check("2020-01-01T02:00:00+02:00", Some(1_577_836_800_000));
        check("2020-01-01T02:00:00+0200", Some(1_577_836_800_000));
        check("2019-12-31T19:00:00-05:00", Some(1_577_836_800_000));
        check("1577836800", Some(1_577_836_800_000));
        check("1577836800.5", Some(1_577_836_800_500));
        check("-1", Some(-1_000));
        check("0000", Some(-62_167_219_200_000));
        for bad in [
            "",
            "x",
            "2020-13-01",
            "2020-00-01",
            "2020-01-32",
            "2020-1-1",
            "20200101T000000Z",
            "2020-01-01T",
            "2020-01T00:00Z",
            "2020-01-01T00:00:00",
            "2020-01-01T24:00:00Z",
            "2020-01-01T00:60:00Z",
            "2020-01-01T00:00:61Z",
            "2020-01-01T00:00:00.Z",
            "2020-01-01T00:00:00+2:00",
            "2020-01-01T00:00:00Zx",
            "1577836800.",
            "99999999999999999999",
            "--1",
            "2020-01-01T00Z",
            "2020-01-01-01",
            "9223372036854775807",
            "2020-01-01T00:00:00+\u{e9}",
            "\u{e9}",
        ] {
            check(bad, None);
        }
    }
}
