//! A sensor of so many lines a second, whose counts go wrong in every way.

use super::*;

const START: Timestamp = Timestamp::from_seconds(1_700_000_000);

/// A sensor of so many lines a second, and what is told of it.
struct Watched {
    silence: Silence,
    reading: Reading,
    elsewhere: Elsewhere,
    second: u64,
}

impl Watched {
    fn new() -> Self {
        let (silence, reading, elsewhere) = (Silence::default(), Reading::default(), Elsewhere::default());
        Self { silence, reading, elsewhere, second: 0 }
    }

    /// Goes on for so many seconds; what is told, with the second from the beginning of this.
    fn run(&mut self, seconds: u64, step: impl Fn(&mut Reading, &mut Elsewhere)) -> Vec<(u64, Change)> {
        let mut told = Vec::new();
        for second in 0..seconds {
            let before = self.reading;
            step(&mut self.reading, &mut self.elsewhere);
            let read = self.reading.read - before.read;
            self.reading.unread_run = if read > 0 { 0 } else { before.unread_run + self.reading.lines - before.lines };
            for (index, run) in self.reading.runs.iter_mut().enumerate() {
                *run = if self.reading.with[index] > before.with[index] { 0 } else { before.runs[index] + read };
            }
            self.second += 1;
            let changes = self.silence.look(START + Duration::from_secs(self.second), &self.reading, self.elsewhere);
            told.extend(changes.into_iter().map(|change| (second, change)));
        }
        told
    }
}

fn whole(lines: u64) -> impl Fn(&mut Reading, &mut Elsewhere) {
    move |reading, elsewhere| {
        reading.lines += lines;
        reading.read += lines;
        reading.votes += lines;
        reading.with.iter_mut().chain(&mut reading.votes_with).for_each(|with| *with += lines);
        reading.clients_without = [0; Field::ALL.len()];
        elsewhere.accepted += lines;
    }
}

fn raised(told: &[(u64, Change)]) -> Vec<(u64, Trouble)> {
    let alarms = told.iter().filter_map(|(second, change)| match change {
        Change::Raised(alarm) => Some((*second, alarm.trouble)),
        Change::Cleared(_) => None,
    });
    alarms.collect()
}

#[test]
fn nothing_is_said_of_a_sensor_that_does_its_work() {
    let mut watched = Watched::new();
    assert_eq!(watched.run(600, whole(3)), []);
    // A quiet night, with the odd visitor.
    for _ in 0..20 {
        assert_eq!(watched.run(60, |_, _| {}), []);
        assert_eq!(watched.run(1, whole(1)), []);
    }
}

#[test]
fn a_format_that_nobody_knows_is_told_with_the_reason() {
    let mut watched = Watched::new();
    watched.run(60, whole(5));
    let told = watched.run(60, |reading, _| {
        reading.lines += 5;
        reading.reason = Some(Reason::NoTimestamp);
    });
    assert_eq!(raised(&told), [(1, Trouble::Unread)]);
    assert!(watched.silence.alarms()[0].text.contains("no time stamp"), "{:?}", watched.silence.alarms());
    // A few lines that can be read are not the end of it.
    let told = watched.run(10, whole(5));
    assert!(matches!(told.as_slice(), [(3, Change::Cleared(_))]), "{told:?}");
    assert_eq!(watched.silence.alarms(), []);
}

#[test]
fn what_goes_wrong_within_the_second_of_the_last_good_line_is_told() {
    let mut watched = Watched::new();
    watched.run(5, whole(5));
    let (before, now) = (watched.reading, START + Duration::from_secs(6));
    let reading = Reading { lines: before.lines + 20, read: before.read + 5, unread_run: 15, ..before };
    let told = watched.silence.look(now, &reading, Elsewhere::default());
    assert!(matches!(told.as_slice(), [Change::Raised(Alarm { trouble: Trouble::Unread, .. })]), "{told:?}");
    // Nothing more comes, and it is said all the same.
    assert_eq!(watched.silence.look(now + Duration::from_secs(1), &reading, Elsewhere::default()), []);
    assert_eq!(watched.silence.alarms().len(), 1);
}

#[test]
fn addresses_that_go_missing_are_told_and_so_are_any_other_fields() {
    for (index, field) in Field::ALL.into_iter().enumerate() {
        let mut watched = Watched::new();
        watched.run(60, whole(5));
        let told = watched.run(60, |reading, elsewhere| {
            let before = *reading;
            whole(5)(reading, elsewhere);
            (reading.with[index], reading.votes_with[index]) = (before.with[index], before.votes_with[index]);
            reading.clients_without[index] = before.clients_without[index] + 5;
        });
        let found = raised(&told);
        let latest = if field == Field::Query { 30 } else { 10 };
        assert!(
            matches!(found.as_slice(), [(second, trouble)] if *trouble == Trouble::Missing(field) && *second <= latest),
            "{found:?}"
        );
        let used_to = if field == Field::Query { "clients a minute came" } else { "it was in 100% before" };
        assert!(watched.silence.alarms()[0].text.contains(used_to), "{:?}", watched.silence.alarms());
    }
}

#[test]
fn a_log_that_never_had_a_status_is_told_of_and_one_without_another_field_is_not() {
    for (index, field) in Field::ALL.into_iter().enumerate() {
        let mut watched = Watched::new();
        let told = watched.run(60, |reading, elsewhere| {
            let clients = reading.clients_without[index];
            whole(5)(reading, elsewhere);
            (reading.with[index], reading.votes_with[index]) = (0, 0);
            reading.clients_without[index] = clients + 5;
        });
        let expected = match field {
            Field::ClientAddress => vec![(3, Trouble::Missing(field))],
            Field::Status => vec![(5, Trouble::Missing(field))],
            _ => Vec::new(),
        };
        assert_eq!(raised(&told), expected, "{field}");
    }
}

#[test]
fn one_client_that_leaves_a_field_out_is_no_alarm() {
    let referer = Field::ALL.iter().position(|field| *field == Field::Referer).expect("a field");
    let mut watched = Watched::new();
    watched.run(60, whole(5));
    // At night it is alone with the site, however much it asks for.
    let told = watched.run(600, |reading, elsewhere| {
        let before = *reading;
        whole(50)(reading, elsewhere);
        reading.votes = before.votes + u64::from(before.read.is_multiple_of(60));
        (reading.with[referer], reading.votes_with[referer]) = (before.with[referer], before.votes_with[referer]);
        reading.clients_without[referer] = 1;
    });
    assert_eq!(told, []);
    // The next visitors have it as ever; then the log has it no more.
    assert_eq!(watched.run(60, whole(5)), []);
    let told = watched.run(60, |reading, elsewhere| {
        let before = *reading;
        whole(5)(reading, elsewhere);
        (reading.with[referer], reading.votes_with[referer]) = (before.with[referer], before.votes_with[referer]);
        reading.clients_without[referer] = before.clients_without[referer] + 1;
    });
    assert_eq!(raised(&told), [(9, Trouble::Missing(Field::Referer))]);
}

/// Requests of as many clients, of which so many a second have a query.
fn with_queries(lines: u64, queries: u64) -> impl Fn(&mut Reading, &mut Elsewhere) {
    move |reading, elsewhere| {
        let before = *reading;
        whole(lines)(reading, elsewhere);
        let query = Field::Query as usize;
        (reading.with[query], reading.votes_with[query]) =
            (before.with[query] + queries, before.votes_with[query] + queries);
        let clients = before.clients_without[query] + u32::try_from(lines).expect("few");
        reading.clients_without[query] = if queries > 0 { 0 } else { clients };
    }
}

#[test]
fn a_log_that_loses_its_queries_is_told_although_few_requests_have_one() {
    let mut watched = Watched::new();
    assert_eq!(watched.run(600, with_queries(10, 1)), []);
    let told = watched.run(120, with_queries(10, 0));
    assert!(matches!(raised(&told).as_slice(), [(20..=40, Trouble::Missing(Field::Query))]), "{told:?}");
    assert!(watched.silence.alarms()[0].text.contains("clients a minute came with one before"));
    let told = watched.run(1, with_queries(10, 1));
    assert!(matches!(told.as_slice(), [(0, Change::Cleared(_))]), "{told:?}");
}

#[test]
fn a_flood_without_queries_is_no_loss_of_them() {
    let mut watched = Watched::new();
    watched.run(600, with_queries(10, 1));
    for _ in 0..60 {
        assert_eq!(watched.run(3, with_queries(5_000, 0)), []);
        assert_eq!(watched.run(1, with_queries(5_000, 4)), []);
    }
    // Nor is it one when the only client that had one has gone.
    let mut watched = Watched::new();
    for _ in 0..10 {
        watched.run(59, with_queries(10, 0));
        watched.run(1, with_queries(10, 1));
    }
    assert_eq!(watched.run(3_600, with_queries(10, 0)), []);
}

#[test]
fn the_end_of_a_flood_with_queries_is_no_loss_of_them() {
    let mut watched = Watched::new();
    watched.run(600, with_queries(5, 0));
    assert_eq!(watched.run(120, with_queries(16, 11)), []);
    assert_eq!(watched.run(1_800, with_queries(5, 0)), []);
    // What visitors have is missed as ever, also after one.
    assert_eq!(watched.run(900, with_queries(5, 1)), []);
    let told = watched.run(120, with_queries(5, 0));
    assert!(matches!(raised(&told).as_slice(), [(_, Trouble::Missing(Field::Query))]), "{told:?}");
}

#[test]
fn a_log_that_never_had_addresses_is_told_and_one_without_referers_is_not() {
    let mut watched = Watched::new();
    let told = watched.run(60, |reading, _| {
        reading.lines += 1;
        reading.read += 1;
    });
    assert_eq!(raised(&told), [(19, Trouble::Missing(Field::ClientAddress))]);
}

#[test]
fn a_log_that_is_no_longer_written_is_told_while_the_server_goes_on() {
    let mut watched = Watched::new();
    watched.run(120, whole(5));
    let told = watched.run(60, |_, elsewhere| elsewhere.accepted += 1);
    assert_eq!(raised(&told), [(19, Trouble::Stopped)]);
    assert!(matches!(watched.run(1, whole(1)).as_slice(), [(0, Change::Cleared(_))]));
    // Nothing goes on anywhere: the server is down, or nobody comes.
    assert_eq!(watched.run(600, |_, _| {}), []);
}

#[test]
fn a_log_that_was_never_written_is_told_while_connections_are_accepted() {
    let mut watched = Watched::new();
    let told = watched.run(60, |_, elsewhere| elsewhere.accepted += 2);
    assert_eq!(raised(&told), [(45, Trouble::Stopped)]);
    assert!(watched.silence.alarms()[0].text.contains("is it the log that the server writes?"));
    assert!(matches!(watched.run(1, whole(1)).as_slice(), [(0, Change::Cleared(_))]));
}

#[test]
fn a_log_that_cannot_be_read_from_the_start_is_told_whatever_goes_on() {
    for lines_elsewhere in [0, 5] {
        let mut watched = Watched::new();
        let told = watched.run(60, |reading, elsewhere| {
            reading.is_out_of_reach = true;
            elsewhere.lines += lines_elsewhere;
        });
        assert_eq!(raised(&told), [(45, Trouble::OutOfReach)]);
        assert_eq!(watched.silence.alarms()[0].text, "nothing could be read for 45 s");
        // It is there, and nobody has need to write it.
        let told = watched.run(60, |reading, _| reading.is_out_of_reach = false);
        assert!(matches!(told.as_slice(), [(0, Change::Cleared(_))]), "{told:?}");
    }
}

#[test]
fn a_log_that_may_not_be_read_any_more_is_told_and_one_that_is_away_is_not() {
    let away = |reading: &mut Reading, elsewhere: &mut Elsewhere| {
        (reading.is_out_of_reach, reading.is_barred) = (true, false);
        elsewhere.accepted += 1;
    };
    let barred = |reading: &mut Reading, elsewhere: &mut Elsewhere| {
        away(reading, elsewhere);
        reading.is_barred = true;
    };
    let back = |reading: &mut Reading, elsewhere: &mut Elsewhere| {
        away(reading, elsewhere);
        reading.is_out_of_reach = false;
    };
    // Of so few lines nobody knows how often they come; where it is known, one alarm is enough.
    for (seconds, lines) in [(40, 1), (120, 5)] {
        let mut watched = Watched::new();
        watched.run(seconds, whole(lines));
        let told = watched.run(60, barred);
        assert_eq!(raised(&told), [(45, Trouble::OutOfReach)]);
        assert_eq!(watched.silence.alarms()[0].text, "nothing could be read for 45 s");
        let told = watched.run(15, back);
        assert!(matches!(told.as_slice(), [(0, Change::Cleared(_))]), "{told:?}");
    }
    let mut watched = Watched::new();
    watched.run(40, whole(1));
    assert_eq!(watched.run(600, away), []);
    // Nothing is missing as long as the file of before is written.
    for _ in 0..10 {
        assert_eq!(watched.run(30, barred), []);
        assert_eq!(watched.run(1, whole(1)), []);
    }
}

#[test]
fn an_idle_log_that_is_away_for_a_moment_is_no_alarm() {
    let mut watched = Watched::new();
    watched.run(100, |_, elsewhere| elsewhere.accepted += u64::from(elsewhere.accepted < 40));
    for _ in 0..3 {
        assert_eq!(watched.run(40, |reading, _| reading.is_out_of_reach = true), []);
        assert_eq!(watched.run(2, |reading, _| reading.is_out_of_reach = false), []);
    }
    // What was accepted while nothing could be read is in no line.
    let away = |reading: &mut Reading, elsewhere: &mut Elsewhere| {
        (reading.is_out_of_reach, elsewhere.accepted) = (true, elsewhere.accepted + 5);
    };
    assert_eq!(watched.run(40, away), []);
    assert_eq!(watched.run(60, |reading, _| reading.is_out_of_reach = false), []);
}

#[test]
fn a_log_that_nobody_has_need_to_write_is_no_alarm() {
    // A shell and a watch over this machine.
    assert_eq!(Watched::new().run(600, |_, elsewhere| elsewhere.accepted += u64::from(elsewhere.accepted < 40)), []);
    // The connections are those of another log.
    let others = |_: &mut Reading, elsewhere: &mut Elsewhere| {
        elsewhere.accepted += 5;
        elsewhere.lines += 5;
    };
    assert_eq!(Watched::new().run(600, others), []);
}

#[test]
fn a_site_of_few_visitors_may_be_silent_for_longer() {
    let mut watched = Watched::new();
    for _ in 0..60 {
        watched.run(9, |_, elsewhere| elsewhere.accepted += 1);
        watched.run(1, whole(1));
    }
    let told = watched.run(600, |_, elsewhere| elsewhere.accepted += 1);
    assert!(matches!(raised(&told).as_slice(), [(150..=260, Trouble::Stopped)]), "{told:?}");
}

/// As of somebody who tries the guard out.
#[test]
fn of_a_few_lines_at_once_nobody_knows_how_often_they_come() {
    for (seconds, lines) in [(8, 1), (33, 1), (33, 6)] {
        let mut watched = Watched::new();
        watched.run(seconds, whole(lines));
        assert_eq!(watched.run(7_200, |_, elsewhere| elsewhere.accepted += 1), [], "{lines} for {seconds} s");
    }
}

/// As of a file that is read from its beginning, or after a long stop.
#[test]
fn history_that_is_read_at_once_says_nothing_of_how_often_lines_come() {
    let mut watched = Watched::new();
    watched.run(1, |_, _| {});
    let history = |reading: &mut Reading, elsewhere: &mut Elsewhere| {
        whole(5_000)(reading, elsewhere);
        reading.late += 5_000;
    };
    assert_eq!(watched.run(1, history), []);
    assert_eq!(watched.run(600, |_, elsewhere| elsewhere.accepted += u64::from(elsewhere.accepted < 5_040)), []);
    // What comes after it does.
    watched.run(120, whole(5));
    let told = watched.run(60, |_, elsewhere| elsewhere.accepted += 1);
    assert_eq!(raised(&told), [(19, Trouble::Stopped)]);
    // A log that is no longer written is told as one that never was.
    let mut watched = Watched::new();
    watched.run(1, |_, _| {});
    watched.run(1, history);
    assert_eq!(raised(&watched.run(60, |_, elsewhere| elsewhere.accepted += 2)), [(44, Trouble::Stopped)]);
    let text = &watched.silence.alarms()[0].text;
    assert!(text.contains("for 45 s, since those of before were read, while"), "{text}");
}

#[test]
fn what_is_usual_is_said_in_a_unit_in_which_it_is_a_number() {
    for (rate, text) in [
        (5.0, "5.0 a second"),
        (0.9, "54 a minute"),
        (0.05, "3 a minute"),
        (12.0 / 3600.0, "12 an hour"),
        (5.0 / 86_400.0, "5 a day"),
    ] {
        assert_eq!(rate_text(rate), text);
    }
}

/// Seconds of so many lines, of which one in `one_in` lacks `what`, or only one has it.
#[track_caller]
fn check_share(seconds: u64, is_bad: impl Fn(u64) -> bool, what: Trouble, expected: usize) {
    let mut watched = Watched::new();
    let told = watched.run(seconds, |reading, elsewhere| {
        elsewhere.accepted += 1;
        for _ in 0..5 {
            reading.lines += 1;
            let number = reading.lines;
            let before = *reading;
            if what != Trouble::Unread || !is_bad(number) {
                reading.read += 1;
                reading.votes += 1;
                reading.with.iter_mut().chain(&mut reading.votes_with).for_each(|with| *with += 1);
            }
            if what != Trouble::Unread && is_bad(number) {
                (reading.with[0], reading.votes_with[0]) = (before.with[0], before.votes_with[0]);
            }
        }
    });
    assert_eq!(raised(&told).len(), expected, "{told:?}");
    assert_eq!(told.len(), expected, "{told:?}");
    assert!(raised(&told).iter().all(|(second, trouble)| *second < 20 && *trouble == what), "{told:?}");
}

#[test]
fn a_sensor_that_is_mostly_blind_is_one_steady_alarm() {
    let address = Trouble::Missing(Field::ClientAddress);
    for what in [Trouble::Unread, address] {
        check_share(600, |number| number % 9 != 0, what, 1);
        check_share(600, |number| number % 10 != 3, what, 1);
        check_share(600, |number| number % 5 < 3, what, 1);
        // A good part is no alarm, nor is what comes and goes around a half of it.
        check_share(600, |number| number % 4 == 0, what, 0);
        check_share(600, |number| number % 5 < 2, what, 0);
    }
}

#[test]
fn what_share_is_missing_is_said_and_when_it_is_less_it_is_over() {
    let mut watched = Watched::new();
    watched.run(60, whole(9));
    let one_in_nine = |reading: &mut Reading, _: &mut Elsewhere| {
        (reading.lines, reading.read) = (reading.lines + 9, reading.read + 1);
        (reading.votes, reading.reason) = (reading.votes + 1, Some(Reason::NoTimestamp));
        reading.with.iter_mut().chain(&mut reading.votes_with).for_each(|with| *with += 1);
    };
    assert_eq!(raised(&watched.run(60, one_in_nine)).len(), 1);
    let text = &watched.silence.alarms()[0].text;
    assert!(text.contains("% of the last lines could not be read: no time stamp"), "{text}");
    let told = watched.run(60, |reading, elsewhere| {
        whole(8)(reading, elsewhere);
        reading.lines += 1;
    });
    assert!(matches!(told.as_slice(), [(5..=20, Change::Cleared(_))]), "{told:?}");
}
