//! The decision as one sentence, made from its record.

use super::{
    Decision,
    bounds::{Bound, BoundKind},
    plan::ActionKind,
    policy::Policy,
};

/// "step: 8 waiting / 5 per worker = 2; start 2".
pub(super) fn sentence(decision: &Decision, policy: &Policy) -> String {
    let largest = decision.terms.iter().rev().max_by_key(|term| term.instances);
    let formula = largest.map_or("nothing is needed", |term| term.formula.as_str());
    let mut parts = vec![format!("{}: {formula}", policy.name())];
    parts.extend(decision.bounds.iter().map(bound));
    let kinds = [
        (ActionKind::Undrain, "un-drain"),
        (ActionKind::Start, "start"),
        (ActionKind::Launch, "launch"),
        (ActionKind::Drain, "drain"),
        (ActionKind::Stop, "stop"),
        (ActionKind::Terminate, "terminate"),
    ];
    let mut idle = true;
    for (kind, verb) in kinds {
        let count = decision.actions.iter().filter(|action| action.kind == kind).count();
        if count > 0 {
            parts.push(format!("{verb} {count}"));
            idle = false;
        }
    }
    if idle {
        parts.push(format!("{} there, nothing to do", decision.current));
    }
    parts.join("; ")
}

fn bound(bound: &Bound) -> String {
    let Bound { kind, to, .. } = bound;
    match kind {
        BoundKind::Hold => format!("held at {to}, needed a moment ago"),
        BoundKind::Stale => format!("held at {to}, the counts are old"),
        BoundKind::Min => format!("at least {to}"),
        BoundKind::Max => format!("at most {to}"),
        BoundKind::Override => format!("set to {to} by a person"),
        BoundKind::PaidMinute => format!("held at {to}, paid for anyway"),
        BoundKind::Paused => format!("paused at {to}"),
        BoundKind::Capacity if bound.to > bound.from => format!("{to} are not ours to stop"),
        BoundKind::Capacity => format!("only {to} can be had"),
        BoundKind::ApiBudget if bound.to > bound.from => format!("held at {to}, not so many go in a minute"),
        BoundKind::ApiBudget => format!("starts are held back at {to}"),
    }
}
