//! What is listed when the top of the list is made anew.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn chat(number: u8, pinned: bool, updated: u64) -> Summary {
    Summary {
        id: ConversationId(uuid::Uuid::from_u128(number.into())),
        title: String::new(),
        pinned,
        updated,
        running: false,
    }
}

/// The server's list.
fn page(all: &BTreeMap<u8, Summary>, limit: usize, after: Option<ListPlace>) -> Vec<Summary> {
    let mut all: Vec<_> = all.values().cloned().collect();
    all.sort_by_key(|chat| std::cmp::Reverse(chat.place()));
    let behind = |chat: &Summary| after.is_none_or(|after| chat.place() < after);
    all.into_iter().filter(behind).take(limit).collect()
}

/// What may happen to a list between two looks at it.
#[derive(Clone, Debug)]
enum Action {
    Said(u8),
    Pinned(u8),
    Gone(u8),
}

fn deed() -> impl Strategy<Value = Action> {
    prop_oneof![
        (0..40u8).prop_map(Action::Said),
        (0..40u8).prop_map(Action::Pinned),
        (0..30u8).prop_map(Action::Gone),
    ]
}

proptest! {
    /// However much was listed, whatever is said, and whatever is pinned or deleted in this tab: the
    /// list is the server's down to where it ends, and paging on reaches everything once.
    #[test]
    fn a_renewed_list_is_the_servers_down_to_its_end(
        count in 0..30u8,
        pages in 0..5usize,
        deeds in prop::collection::vec(deed(), 0..8),
        limit in 1..6usize,
    ) {
        let chats = (0..count).map(|at| (at, chat(at, at % 7 == 0, u64::from(at / 2))));
        let mut all: BTreeMap<u8, Summary> = chats.collect();
        let mut list = page(&all, limit, None);
        let mut end = end_of(&list, limit);
        for _ in 0..pages {
            if let Some(after) = end {
                let more = page(&all, limit, Some(after));
                end = end_of(&more, limit);
                list.extend(more);
            }
        }
        for (at, deed) in deeds.into_iter().enumerate() {
            let at = 100 + at as u64;
            match deed {
                Action::Said(number) => {
                    all.entry(number).or_insert_with(|| chat(number, false, at)).updated = at;
                }
                Action::Pinned(number) => {
                    let Some(known) = all.get_mut(&number) else { continue };
                    known.pinned ^= true;
                    let pinned = known.pinned;
                    let mut listed = list.iter_mut();
                    if let Some(listed) = listed.find(|listed| listed.id == known.id) {
                        listed.pinned = pinned;
                    }
                }
                Action::Gone(number) => {
                    let gone = chat(number, false, 0).id;
                    all.remove(&number);
                    list.retain(|listed| listed.id != gone);
                }
            }
            let some = how_many(&list, limit, false);
            (list, end) = renewed(page(&all, some, None), some, &list, end);
            let expected = page(&all, usize::MAX, None);
            let down_to = |chat: &&Summary| end.is_none_or(|end| chat.place() >= end);
            let expected: Vec<_> = expected.iter().take_while(down_to).cloned().collect();
            prop_assert_eq!(&list, &expected);
        }
        while let Some(after) = end {
            let more = page(&all, limit, Some(after));
            end = end_of(&more, limit);
            list.extend(more);
        }
        prop_assert_eq!(list, page(&all, usize::MAX, None));
    }
}
