//! Groups conversations by the day of their last message.

use headwater_protocol::{ConversationId, chat::Summary};

const DAY: u64 = 86_400_000;

/// A heading with its conversations.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Group {
    pub(super) label: &'static str,
    pub(super) chats: Vec<Row>,
}

/// A conversation as the list shows it. Its time is left out, so that a row is rebuilt only when it
/// looks different.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Row {
    pub(super) id: ConversationId,
    pub(super) title: String,
    pub(super) pinned: bool,
    pub(super) running: bool,
}

/// Groups a sorted list. `today` is the start of the reader's day in milliseconds since 1970-01-01
/// UTC, or 0 if it is unknown: then only pinned conversations get a heading.
pub(super) fn groups(list: &[Summary], today: u64) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for chat in list {
        let label = label(chat, today);
        let row = Row {
            id: chat.id,
            title: chat.title.clone(),
            pinned: chat.pinned,
            running: chat.running,
        };
        match groups.iter_mut().find(|group| group.label == label) {
            Some(group) => group.chats.push(row),
            None => groups.push(Group {
                label,
                chats: vec![row],
            }),
        }
    }
    groups
}

fn label(chat: &Summary, today: u64) -> &'static str {
    match today.saturating_sub(chat.updated) {
        _ if chat.pinned => "Pinned",
        _ if today == 0 => "",
        0 => "Today",
        1..=DAY => "Yesterday",
        before if before <= 7 * DAY => "Previous 7 days",
        _ => "Older",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(today: u64, updated: &[u64], want: &[(&str, usize)]) {
        let list: Vec<Summary> = updated
            .iter()
            .map(|updated| Summary {
                id: ConversationId(uuid::Uuid::nil()),
                title: String::new(),
                pinned: *updated == 1,
                updated: *updated,
                running: false,
            })
            .collect();
        let groups = groups(&list, today);
        let got: Vec<_> = groups
            .iter()
            .map(|group| (group.label, group.chats.len()))
            .collect();
        assert_eq!(got, want);
    }

    #[test]
    fn by_day() {
        let today = 100 * DAY;
        check(
            today,
            &[
                1,
                today + 5,
                today,
                today - 1,
                today - DAY,
                today - 3 * DAY,
                today - 30 * DAY,
            ],
            &[
                ("Pinned", 1),
                ("Today", 2),
                ("Yesterday", 2),
                ("Previous 7 days", 1),
                ("Older", 1),
            ],
        );
        check(0, &[1, 7, 8], &[("Pinned", 1), ("", 2)]);
    }
}
