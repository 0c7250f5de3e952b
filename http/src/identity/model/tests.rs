//! The model against its own records, and the rules of its changes.

use super::*;

fn moment(now_ms: u64, random: &dyn Fn() -> u128) -> Moment<'_> {
    Moment { now_ms, random }
}

fn counting() -> impl Fn() -> u128 {
    let state = std::cell::Cell::new(1_u128);
    move || {
        let next = state.get().wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645).wrapping_add(3);
        state.set(next);
        next ^ (next >> 64)
    }
}

const ACCOUNT: &str = "123456789012";

#[test]
fn a_user_with_a_key() {
    let random = counting();
    let now = moment(5, &random);
    let new = NewUser { name: "alice", path: "/", tags: Tags::new() };
    let made = Model::empty(ACCOUNT).create_user(&new, &now).expect("made");
    assert_eq!(made.model.user_arn(&made.answer), "arn:aws:iam::123456789012:user/alice");
    let key = made.model.create_access_key("alice", &NewAccessKey::default(), &now).expect("made");
    assert_eq!(key.model.key(&key.answer.id).map(|key| &key.user), Some(&made.answer.id));
    let taken = key
        .model
        .create_user(&NewUser { name: "ALICE", ..new }, &now)
        .map(|change| change.answer.name.clone());
    assert_eq!(taken, Err(Fault::EntityAlreadyExists { entity: Entity::User, name: "ALICE".to_owned() }));
}
