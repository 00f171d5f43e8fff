//! What can go wrong on purpose: the kinds of faults, whom they hit, and how long they last.
//!
//! Written `KIND[@AT][:ARG]`, such as `kill@10s:order+inventory`, `cut:inventory,5s` or `wipe`.

use std::fmt::{Display, Formatter};
use std::str::FromStr;
use std::time::Duration;

use crate::load::parse_duration;
use crate::topology::Part;

/// The delay of a slow link; its jitter may double it.
pub const SLOW_LATENCY: Duration = Duration::from_millis(40);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `kill -9`; started again after a while.
    Kill,
    Restart,
    /// SIGSTOP, then SIGCONT.
    Pause,
    Cut,
    StallToBroker,
    StallFromBroker,
    Slow,
    Reset,
    Wipe,
    /// Messages of the stream are published again, 2–5 times, shuffled.
    Duplicate,
    Poison,
    Malformed,
    /// The observer tries to have the server change something in its name.
    Attack,
    /// A service is started again with a log that nobody reads any more.
    LogGone,
    /// A service's database file is moved away while it runs; the service must end by itself.
    MoveDatabase,
    /// A service is started again with a clock far ahead, which is put right while it runs.
    Clock,
    Lock,
    /// A task of a service panics; the service must end by itself.
    Panic,
}

const ALL: &[Part] = &Part::IN_START_ORDER;
const SERVICES: &[Part] = &[Part::Order, Part::Inventory];

/// Every kind, with the word for it, whom it may hit, and how many seconds it lasts when nobody says so.
pub const KINDS: [(Kind, &str, &[Part], u64); 18] = [
    (Kind::Kill, "kill", ALL, 0),
    (Kind::Restart, "restart", ALL, 0),
    (Kind::Pause, "pause", ALL, 2),
    (Kind::Cut, "cut", SERVICES, 5),
    (Kind::StallToBroker, "stall-to-broker", SERVICES, 5),
    (Kind::StallFromBroker, "stall-from-broker", SERVICES, 5),
    (Kind::Slow, "slow", SERVICES, 5),
    (Kind::Reset, "reset", SERVICES, 0),
    (Kind::Wipe, "wipe", &[], 0),
    (Kind::Duplicate, "duplicate", &[], 0),
    (Kind::Poison, "poison", &[], 0),
    (Kind::Malformed, "malformed", &[], 0),
    (Kind::Attack, "attack", &[], 0),
    (Kind::LogGone, "log-gone", SERVICES, 2),
    (Kind::MoveDatabase, "move-database", SERVICES, 0),
    (Kind::Clock, "clock", SERVICES, 2),
    (Kind::Lock, "lock", SERVICES, 3),
    (Kind::Panic, "panic", SERVICES, 0),
];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub kind: Kind,
    /// To whom; empty where the kind leaves no choice.
    pub targets: Vec<Part>,
    pub lasts: Duration,
}

/// A fault as a flag names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// When it begins; `None`: wherever it fits.
    pub at: Option<Duration>,
    pub fault: Fault,
}

impl Kind {
    pub fn word(self) -> &'static str {
        KINDS.iter().find(|(kind, ..)| *kind == self).map_or("fault", |(_, word, ..)| word)
    }

    pub fn is_partition(self) -> bool {
        matches!(self, Self::Cut | Self::StallToBroker | Self::StallFromBroker)
    }

    /// Whether it hits what a service stands on.
    pub fn is_of_surroundings(self) -> bool {
        matches!(self, Self::LogGone | Self::MoveDatabase | Self::Clock | Self::Lock | Self::Panic)
    }

    /// Whether it is made of messages alone. Nobody else's order may wait for it.
    pub fn is_messages(self) -> bool {
        matches!(self, Self::Duplicate | Self::Poison | Self::Malformed | Self::Attack)
    }
}

impl Fault {
    pub fn new(kind: Kind, targets: &[Part], lasts: Duration) -> Self {
        Self { kind, targets: targets.to_vec(), lasts }
    }

    pub fn target_words(&self) -> Vec<&'static str> {
        self.targets.iter().map(|part| target_word(*part)).collect()
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:<17} {}", self.kind.word(), self.target_words().join("+"))
    }
}

pub fn target_word(part: Part) -> &'static str {
    match part {
        Part::Broker => "broker",
        Part::Order => "order",
        Part::Inventory => "inventory",
    }
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (head, argument) = split(text, ':');
        let (word, at) = split(head, '@');
        let known = KINDS.into_iter().find(|(_, known, ..)| *known == word);
        let (kind, _, possible, seconds) = known.ok_or_else(|| {
            let words: Vec<&str> = KINDS.iter().map(|(_, word, ..)| *word).collect();
            format!("{word} is no fault; there are {}", words.join(", "))
        })?;
        let usual = Fault::new(kind, possible, Duration::from_secs(seconds));
        let mut fault = usual.clone();
        // Targets and a length, either of which may be left out: `order+broker,2s`.
        for word in argument.into_iter().flat_map(|argument| argument.split(',')) {
            if word.starts_with(|first: char| first.is_ascii_digit()) {
                fault.lasts = parse_duration(word)?;
            } else if word != "all" {
                let targets = word.split('+').map(|name| parse_target(&usual, name));
                fault.targets = targets.collect::<Result<_, _>>()?;
            }
        }
        Ok(Self { at: at.map(parse_duration).transpose()?, fault })
    }
}

/// `text` up to the mark, and what stands behind it.
fn split(text: &str, mark: char) -> (&str, Option<&str>) {
    text.split_once(mark).map_or((text, None), |(head, rest)| (head, Some(rest)))
}

fn parse_target(fault: &Fault, name: &str) -> Result<Part, String> {
    let found = fault.targets.iter().find(|part| target_word(**part) == name);
    found.copied().ok_or_else(|| match fault.target_words().as_slice() {
        [] => format!("{} has no target", fault.kind.word()),
        words => format!("{} cannot hit {name:?}; it can hit {}", fault.kind.word(), words.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Wanted {
        text.parse().unwrap()
    }

    #[test]
    fn a_fault_is_read_with_its_time_targets_and_length() {
        let wanted = parse("kill@10s:order+broker,500ms");
        assert_eq!(wanted.at, Some(Duration::from_secs(10)));
        let fault = Fault::new(Kind::Kill, &[Part::Order, Part::Broker], Duration::from_millis(500));
        assert_eq!(wanted.fault, fault);
    }

    #[test]
    fn what_is_left_out_of_a_fault_is_the_usual() {
        assert_eq!(parse("wipe"), Wanted { at: None, fault: Fault::new(Kind::Wipe, &[], Duration::ZERO) });
        assert_eq!(parse("kill").fault.targets.len(), 3, "without a target, all of them");
        assert_eq!(parse("cut:9s").fault.targets, [Part::Order, Part::Inventory]);
        assert_eq!(parse("cut:9s").fault.lasts, Duration::from_secs(9));
    }

    #[test]
    fn a_fault_that_cannot_be_names_what_can() {
        let error = |text: &str| text.parse::<Wanted>().unwrap_err();
        assert!(error("explode").contains("kill, restart"), "{}", error("explode"));
        assert!(error("cut:broker").contains("it can hit order, inventory"), "{}", error("cut:broker"));
        assert!(error("wipe:order").contains("wipe has no target"), "{}", error("wipe:order"));
        assert!(error("kill@soon").contains("number"), "{}", error("kill@soon"));
    }
}
