//! Milliseconds since 1970 as dates and clock times in UTC, and dates as days.
//!
//! The one calendar of all crates: the layers above spell its numbers as their protocols want them. Pure.

/// Days from 0000-03-01 to 1970-01-01. Years that begin in March end with their leap day.
const DAYS_BEFORE_1970: u64 = 719_468;
/// Days of 400 years, after which the calendar repeats.
const CYCLE_DAYS: u64 = 146_097;

/// Milliseconds of a day; leap seconds are not counted.
pub const DAY_MS: u64 = 86_400_000;

/// A moment as people write it, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Civil {
    pub year: u64,
    /// 1 to 12.
    pub month: u64,
    /// 1 to 31.
    pub day: u64,
    pub hour: u64,
    pub minute: u64,
    pub second: u64,
    pub millisecond: u64,
}

impl Civil {
    /// The moment `ms` milliseconds after 1970-01-01 00:00:00.
    pub fn of_ms(ms: u64) -> Civil {
        let (days, rest) = (ms / DAY_MS + DAYS_BEFORE_1970, ms % DAY_MS);
        let (cycle, day) = (days / CYCLE_DAYS, days % CYCLE_DAYS);
        let year_of_cycle = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day_of_year = day - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let (month, carry) = match month_from_march {
            0..=9 => (month_from_march + 3, 0),
            _ => (month_from_march - 9, 1),
        };
        Civil {
            year: cycle * 400 + year_of_cycle + carry,
            month,
            day: day_of_year - (153 * month_from_march + 2) / 5 + 1,
            hour: rest / 3_600_000,
            minute: rest / 60_000 % 60,
            second: rest / 1_000 % 60,
            millisecond: rest % 1_000,
        }
    }
}

/// Days from 1970-01-01 to a date from then on, to the end of 9999; `None` when there is no such date.
pub fn days_of_date(year: u64, month: u64, day: u64) -> Option<u64> {
    let last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => return None,
    };
    if !(1970..=9999).contains(&year) || day == 0 || last < day {
        return None;
    }
    let (year, month_from_march) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    Some(year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - DAYS_BEFORE_1970)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ms: u64, date: (u64, u64, u64), clock: (u64, u64, u64, u64)) {
        let got = Civil::of_ms(ms);
        assert_eq!((got.year, got.month, got.day), date, "{ms}");
        assert_eq!((got.hour, got.minute, got.second, got.millisecond), clock, "{ms}");
        assert_eq!(days_of_date(date.0, date.1, date.2), Some(ms / DAY_MS), "{date:?}");
    }

    #[test]
    fn moments() {
        check(0, (1970, 1, 1), (0, 0, 0, 0));
        check(784_111_777_500, (1994, 11, 6), (8, 49, 37, 500));
        check(951_782_400_000, (2000, 2, 29), (0, 0, 0, 0));
        check(1_709_251_199_999, (2024, 2, 29), (23, 59, 59, 999));
        check(4_107_542_400_000, (2100, 3, 1), (0, 0, 0, 0));
        check(253_402_300_799_000, (9999, 12, 31), (23, 59, 59, 0));
    }

    #[test]
    fn no_dates() {
        for (year, month, day) in [
            (2023, 2, 29),
            (2100, 2, 29),
            (2024, 13, 1),
            (2024, 1, 0),
            (2024, 4, 31),
            (1969, 12, 31),
            (10_000, 1, 1),
        ] {
            assert_eq!(days_of_date(year, month, day), None, "{year}-{month}-{day}");
        }
    }

    #[test]
    fn dates_undo_days() {
        for day in (0..2_932_896).step_by(13) {
            let civil = Civil::of_ms(day * DAY_MS);
            assert_eq!(days_of_date(civil.year, civil.month, civil.day), Some(day));
        }
    }
}
