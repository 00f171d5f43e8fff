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
    /// SIGTERM, then started again.
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

/// Every kind, with the word for it.
pub const KINDS: [(Kind, &str); 18] = [
    (Kind::Kill, "kill"),
    (Kind::Restart, "restart"),
    (Kind::Pause, "pause"),
    (Kind::Cut, "cut"),
    (Kind::StallToBroker, "stall-to-broker"),
    (Kind::StallFromBroker, "stall-from-broker"),
    (Kind::Slow, "slow"),
    (Kind::Reset, "reset"),
    (Kind::Wipe, "wipe"),
    (Kind::Duplicate, "duplicate"),
    (Kind::Poison, "poison"),
    (Kind::Malformed, "malformed"),
    (Kind::Attack, "attack"),
    (Kind::LogGone, "log-gone"),
    (Kind::MoveDatabase, "move-database"),
    (Kind::Clock, "clock"),
    (Kind::Lock, "lock"),
    (Kind::Panic, "panic"),
];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub kind: Kind,
    /// To whom; empty where the kind leaves no choice.
    pub targets: Vec<Part>,
    /// From its begin until it is mended.
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
        KINDS.iter().find(|(kind, _)| *kind == self).map_or("fault", |(_, word)| word)
    }

    fn possible_targets(self) -> &'static [Part] {
        match self {
            Self::Kill | Self::Restart | Self::Pause => &Part::IN_START_ORDER,
            Self::Wipe | Self::Duplicate | Self::Poison | Self::Malformed | Self::Attack => &[],
            _ => &[Part::Order, Part::Inventory],
        }
    }

    /// How long it lasts when nobody says so.
    fn usual_length(self) -> Duration {
        match self {
            Self::Pause | Self::LogGone | Self::Clock => Duration::from_secs(2),
            Self::Lock => Duration::from_secs(3),
            Self::Cut | Self::StallToBroker | Self::StallFromBroker | Self::Slow => Duration::from_secs(5),
            _ => Duration::ZERO,
        }
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
}

impl Display for Fault {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.targets.iter().map(|part| target_word(*part)).collect();
        write!(f, "{:<17} {}", self.kind.word(), names.join("+"))
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
        let (head, argument) = text.split_once(':').map_or((text, None), |(head, rest)| (head, Some(rest)));
        let (word, at) = head.split_once('@').map_or((head, None), |(word, at)| (word, Some(at)));
        let kind = KINDS.iter().find(|(_, known)| *known == word).map(|(kind, _)| *kind);
        let kind = kind.ok_or_else(|| {
            let words: Vec<&str> = KINDS.iter().map(|(_, word)| *word).collect();
            format!("{word} is no fault; there are {}", words.join(", "))
        })?;
        let (targets, lasts) = parse_argument(kind, argument)?;
        Ok(Self { at: at.map(parse_duration).transpose()?, fault: Fault { kind, targets, lasts } })
    }
}

/// Targets and a length, either of which may be left out: `order+broker,2s`.
fn parse_argument(kind: Kind, argument: Option<&str>) -> Result<(Vec<Part>, Duration), String> {
    let (mut targets, mut lasts) = (kind.possible_targets().to_vec(), kind.usual_length());
    for word in argument.into_iter().flat_map(|argument| argument.split(',')) {
        if word.starts_with(|first: char| first.is_ascii_digit()) {
            lasts = parse_duration(word)?;
        } else if word != "all" {
            targets = word.split('+').map(|name| parse_target(kind, name)).collect::<Result<_, _>>()?;
        }
    }
    Ok((targets, lasts))
}

fn parse_target(kind: Kind, name: &str) -> Result<Part, String> {
    let possible = kind.possible_targets();
    let found = possible.iter().find(|part| target_word(**part) == name);
    found.copied().ok_or_else(|| {
        let names: Vec<&str> = possible.iter().map(|part| target_word(*part)).collect();
        match names.as_slice() {
            [] => format!("{} has no target", kind.word()),
            names => format!("{} cannot hit {name:?}; it can hit {}", kind.word(), names.join(", ")),
        }
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
