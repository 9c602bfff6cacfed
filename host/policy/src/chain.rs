//! The questions, each put to the policies that answer it, in order.
//!
//! `pass` goes to the next policy; any other ruling ends the chain. Demands, roles and tags add up, and the strictest wins, so that
//! their order does not matter and no policy can lower what another, or the configuration, raised (invariant 2).

use crate::convert;
use crate::effects::{Tags, join};
use crate::facts::{DestinationFacts, MessageFacts, SessionFacts};
use crate::fault::Fault;
use crate::host::{Facts, Inspected};
use crate::minutes::Minutes;
use crate::occasion::Occasion;
use crate::policy::{Policy, Question};
use crate::set::{Duty, PolicySet};
use crate::shadow::Following;
use secmx_core::channel::{Channel, Level};
use secmx_core::mail::{Mailbox, Parameter, ReversePath};
use secmx_core::role::{ReceiverRole, SenderRole};
use secmx_core::ruling::{ContentEffects, Exhausted, Plan, Ruling, Step, Terms};
use std::sync::Arc;

/// Answer to "a client connected".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// On which terms it may talk.
    pub terms: Terms,
    /// `Pass` and `Accept` let it.
    pub ruling: Ruling,
    /// Tags for later questions about this session.
    pub tags: Tags,
}

/// Answer to "the message is complete".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// What becomes of it.
    pub ruling: Ruling,
    /// What else was asked for; the tags of session and message are in it.
    pub effects: ContentEffects,
    /// Name of the policy that ended the chain; `None` when all passed.
    pub by: Option<String>,
}

/// Answer to "where shall this go".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routing {
    /// The plan. It waits when a policy of the chain ruled against sending now.
    pub plan: Plan,
    /// `Pass` and `Accept` follow the plan.
    pub ruling: Ruling,
}

/// A set of policies that is asked one question, with somebody who takes the minutes. Dropping the future of a question that was not
/// answered leaves the minutes as far as they came.
#[derive(Debug)]
pub struct Hearing<'a> {
    policies: &'a PolicySet,
    minutes: &'a mut Minutes,
}

impl Hearing<'_> {
    /// A client connected. The role policy of the listener sets the role, the chain may tighten it or refuse. A fault also when there is
    /// no role policy of that name.
    pub async fn greet(self, role_policy: &str, facts: &SessionFacts) -> Result<Greeting, Fault> {
        let mut session = facts.clone();
        let mut greeting = Greeting { terms: Terms::default(), ruling: Ruling::Pass, tags: Tags::new() };
        let role = self.policies.role(role_policy, "receiver.greet", &facts.id)?;
        for policy in std::iter::once(role)
            .chain(self.policies.asked("receiver", Occasion { listener: Some(&facts.listener), ..Occasion::default() }))
        {
            let (ruling, effects) = policy.ask(Question::Greet, Facts::session(session.clone()), self.minutes).await?;
            if effects.receiver_role == Some(ReceiverRole::SecureOnly) {
                greeting.terms.role = ReceiverRole::SecureOnly;
            }
            greeting.terms.client_certificate = greeting.terms.client_certificate.max(effects.client_certificate);
            session.tags.extend(effects.tags.clone());
            greeting.tags.extend(effects.tags);
            greeting.ruling = ruling;
            let ended = match &greeting.ruling {
                Ruling::Pass => false,
                // A role policy that accepts speaks of its role, not for the policies behind it.
                Ruling::Accept(_) => policy.duty == Duty::Chain,
                _ => true,
            };
            if ended {
                break;
            }
        }
        Ok(greeting)
    }

    /// MAIL arrived. Gives the ruling and the tags that were set on the session.
    pub async fn mail(self, facts: &SessionFacts, reverse_path: &ReversePath, parameters: &[Parameter]) -> Result<(Ruling, Tags), Fault> {
        let occasion = Occasion { listener: Some(&facts.listener), reverse_path: Some(reverse_path), ..Occasion::default() };
        let reverse_path = reverse_path.as_ref().map(convert::address);
        self.command(facts, Question::Mail { reverse_path, parameters: convert::parameters(parameters) }, occasion).await
    }

    /// RCPT arrived. Gives the ruling and the tags that were set on the session.
    pub async fn recipient(
        self,
        facts: &SessionFacts,
        reverse_path: &ReversePath,
        forward_path: &Mailbox,
        parameters: &[Parameter],
    ) -> Result<(Ruling, Tags), Fault> {
        let recipients = std::slice::from_ref(forward_path);
        let occasion = Occasion { listener: Some(&facts.listener), reverse_path: Some(reverse_path), recipients, role: None };
        let question = Question::Recipient {
            reverse_path: reverse_path.as_ref().map(convert::address),
            forward_path: convert::address(forward_path),
            parameters: convert::parameters(parameters),
        };
        self.command(facts, question, occasion).await
    }

    async fn command(self, facts: &SessionFacts, question: Question, occasion: Occasion<'_>) -> Result<(Ruling, Tags), Fault> {
        let (mut session, mut tags) = (facts.clone(), Tags::new());
        for policy in self.policies.asked(question.interface(), occasion) {
            let (ruling, effects) = policy.ask(question.clone(), Facts::session(session.clone()), self.minutes).await?;
            session.tags.extend(effects.tags.clone());
            tags.extend(effects.tags);
            if ruling != Ruling::Pass {
                return Ok((ruling, tags));
            }
        }
        Ok((Ruling::Pass, tags))
    }

    /// The message is complete. Every policy of the chain sees it as it was received; their edits are applied afterwards, in order. Gives
    /// the shadows too, who begin when the caller has answered.
    pub async fn content(mut self, facts: &SessionFacts, message: MessageFacts) -> (Result<Inspection, Fault>, Following) {
        let message = Arc::new(Inspected::new(message, Arc::clone(&self.policies.lens)));
        let answer = self.enforced(facts, &message, None).await;
        let enforced = answer.as_ref().map_or("defer", |inspection| inspection.ruling.name());
        (answer, self.policies.shadows.follow(facts, message, enforced))
    }

    /// A person overrides the quarantine that `by` put a message in with reason `code`. The policies behind it are asked; all of them when
    /// it is not known, or not in force any more. Whoever says the same again is not heard.
    pub async fn content_after(
        mut self,
        facts: &SessionFacts,
        message: MessageFacts,
        by: Option<&str>,
        code: &str,
    ) -> Result<Inspection, Fault> {
        self.enforced(facts, &Arc::new(Inspected::new(message, Arc::clone(&self.policies.lens))), Some((by, code))).await
    }

    async fn enforced(
        &mut self,
        facts: &SessionFacts,
        message: &Arc<Inspected>,
        overridden: Option<(Option<&str>, &str)>,
    ) -> Result<Inspection, Fault> {
        let occasion = message.occasion(&facts.listener);
        let mut session = facts.clone();
        let mut inspection = Inspection { ruling: Ruling::Pass, effects: ContentEffects::default(), by: None };
        let (after, code) = overridden.unzip();
        let named = |name: &str| self.policies.asked("content", occasion).position(|policy| policy.name() == name);
        let behind = after.flatten().and_then(named).map_or(0, |place| place + 1);
        for policy in self.policies.asked("content", occasion).skip(behind) {
            let (ruling, effects) = policy.ask(Question::Inspect, Facts::message(session.clone(), message.clone()), self.minutes).await?;
            session.tags.extend(effects.tags.clone());
            join(&mut inspection.effects, effects.content, effects.tags);
            if ruling == Ruling::Pass || matches!(&ruling, Ruling::Quarantine(reason) if code == Some(reason.code.as_str())) {
                continue;
            }
            (inspection.ruling, inspection.by) = (ruling, Some(policy.name().to_owned()));
            break;
        }
        Ok(inspection)
    }

    /// Where shall this go? The chain first: it may raise the role, rule against sending now, or accept with a plan of its own. Then the
    /// policy of the resulting role builds the plan.
    pub async fn route(self, facts: DestinationFacts) -> Result<Routing, Fault> {
        let facts = Arc::new(facts);
        let mut role = facts.role;
        for policy in self.policies.asked("sender", leaving(&facts)) {
            let (ruling, effects) = policy.ask(Question::Route, Facts::destination(facts.clone(), None), self.minutes).await?;
            role = role.max(effects.sender_role.unwrap_or_default());
            match ruling {
                Ruling::Pass => {}
                Ruling::Accept(_) if effects.steps.is_empty() => break,
                Ruling::Accept(_) => {
                    let plan = plan(role, effects.steps, effects.when_proved, effects.when_unknown);
                    return Ok(Routing { plan, ruling });
                }
                ruling => return Ok(Routing { plan: Plan::waiting(role), ruling }),
            }
        }
        loop {
            let policy = self.policies.role(role_name(role), "sender.route", &facts.message_id)?;
            let (ruling, effects) = policy.ask(Question::Route, Facts::destination(facts.clone(), None), self.minutes).await?;
            let wanted = role.max(effects.sender_role.unwrap_or_default());
            if wanted == role {
                let plan = plan(role, effects.steps, effects.when_proved, effects.when_unknown);
                return Ok(Routing { plan, ruling });
            }
            // The role went up, and it can only do so once more than there are roles: the stricter policy plans.
            role = wanted;
        }
    }

    /// A channel stands: may the message go? `exchanger` is its place in the facts. `Pass` and `Accept` send.
    pub async fn admit(self, facts: DestinationFacts, exchanger: u32, channel: &Channel) -> Result<Ruling, Fault> {
        let role = self.policies.role(role_name(facts.role), "sender.admit", &facts.message_id)?;
        let facts = Arc::new(facts);
        for policy in self.policies.asked("sender", leaving(&facts)).chain(std::iter::once(role)) {
            let facts = Facts::destination(facts.clone(), Some(channel.clone()));
            let (ruling, _) = policy.ask(Question::Admit { exchanger }, facts, self.minutes).await?;
            if ruling != Ruling::Pass {
                return Ok(ruling);
            }
        }
        Ok(Ruling::Pass)
    }
}

/// The questions, without minutes. What each does and gives is said at [`Hearing`].
impl PolicySet {
    /// Asks with minutes.
    pub fn hearing<'a>(&'a self, minutes: &'a mut Minutes) -> Hearing<'a> {
        Hearing { policies: self, minutes }
    }

    /// [`Hearing::greet`].
    pub async fn greet(&self, role_policy: &str, facts: &SessionFacts) -> Result<Greeting, Fault> {
        self.hearing(&mut Minutes::default()).greet(role_policy, facts).await
    }

    /// [`Hearing::mail`].
    pub async fn mail(&self, facts: &SessionFacts, reverse_path: &ReversePath, parameters: &[Parameter]) -> Result<(Ruling, Tags), Fault> {
        self.hearing(&mut Minutes::default()).mail(facts, reverse_path, parameters).await
    }

    /// [`Hearing::recipient`].
    pub async fn recipient(
        &self,
        facts: &SessionFacts,
        reverse_path: &ReversePath,
        forward_path: &Mailbox,
        parameters: &[Parameter],
    ) -> Result<(Ruling, Tags), Fault> {
        self.hearing(&mut Minutes::default()).recipient(facts, reverse_path, forward_path, parameters).await
    }

    /// [`Hearing::content`]. The shadows begin at once.
    pub async fn content(&self, facts: &SessionFacts, message: MessageFacts) -> Result<Inspection, Fault> {
        let (answer, following) = self.hearing(&mut Minutes::default()).content(facts, message).await;
        following.begin();
        answer
    }

    /// [`Hearing::route`].
    pub async fn route(&self, facts: DestinationFacts) -> Result<Routing, Fault> {
        self.hearing(&mut Minutes::default()).route(facts).await
    }

    /// [`Hearing::admit`].
    pub async fn admit(&self, facts: DestinationFacts, exchanger: u32, channel: &Channel) -> Result<Ruling, Fault> {
        self.hearing(&mut Minutes::default()).admit(facts, exchanger, channel).await
    }

    /// Policies of the chain that have this interface and are asked on this occasion.
    fn asked<'a>(&'a self, interface: &'static str, occasion: Occasion<'a>) -> impl Iterator<Item = &'a Policy> {
        self.chain.iter().filter(move |policy| policy.loaded.has(interface) && policy.applies(&occasion))
    }

    fn role(&self, name: &str, question: &'static str, subject: &str) -> Result<&Policy, Fault> {
        let missing = || Fault {
            policy: name.to_owned(),
            version: None,
            question,
            subject: subject.to_owned(),
            detail: "no role policy has this name".into(),
        };
        self.roles.get(name).ok_or_else(missing)
    }
}

fn role_name(role: SenderRole) -> &'static str {
    match role {
        SenderRole::BestEffort => "bes",
        SenderRole::SecureOnly => "sos",
    }
}

fn leaving(facts: &DestinationFacts) -> Occasion<'_> {
    Occasion { listener: None, reverse_path: Some(&facts.reverse_path), recipients: &facts.recipients, role: Some(facts.role) }
}

/// The plan as the gateway follows it. Secure only means TLS, whatever the policy wrote (L2-4).
fn plan(role: SenderRole, mut steps: Vec<Step>, proved: Option<Exhausted>, unknown: Option<Exhausted>) -> Plan {
    if role == SenderRole::SecureOnly {
        for step in &mut steps {
            step.at_least = step.at_least.max(Level::Encrypted);
        }
    }
    let waiting = Plan::waiting(role);
    Plan { steps, when_proved: proved.unwrap_or(waiting.when_proved), when_unknown: unknown.unwrap_or(waiting.when_unknown), ..waiting }
}
