//! Text of HTML: the tokens of a browser's reader (html5ever), without its tree, so that depth costs nothing.

use super::{Extract, Gap, Sink};
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts};
use std::cell::RefCell;

/// Elements that a word goes on through; every other one ends a line.
const INLINE: [&str; 26] = [
    "a", "abbr", "b", "bdi", "bdo", "big", "cite", "code", "del", "em", "font", "i", "ins", "kbd", "label", "mark", "q", "s", "samp",
    "small", "span", "strong", "sub", "sup", "u", "wbr",
];

/// Octets that are handed over at once, so that the time is looked at.
const CHUNK: usize = 64 << 10;

/// Characters that a reader shows, and those that it could: alternative texts, what a style hides, titles. Not scripts, styles and comments.
pub(crate) fn html(source: &str, mut sink: Sink<'_>) -> Extract {
    let queue = BufferQueue::default();
    let tokenizer = Tokenizer::new(
        Words { sink: RefCell::new(&mut sink), gap: RefCell::default(), skipped: RefCell::default() },
        TokenizerOpts::default(),
    );
    let mut rest = source;
    while !rest.is_empty() && tokenizer.sink.gap.borrow().is_none() {
        let (chunk, after) = rest.split_at(rest.floor_char_boundary(CHUNK.min(rest.len())));
        queue.push_back(StrTendril::from_slice(chunk));
        // There are no scripts to stop for.
        let _ = tokenizer.feed(&queue);
        rest = after;
    }
    tokenizer.end();
    let gap = *tokenizer.sink.gap.borrow();
    drop(tokenizer);
    Extract { text: sink.finish(), gap }
}

struct Words<'s, 'a> {
    sink: RefCell<&'s mut Sink<'a>>,
    gap: RefCell<Option<Gap>>,
    /// The element that is passed over, until its end.
    skipped: RefCell<Option<String>>,
}

impl Words<'_, '_> {
    fn push(&self, text: &str) {
        if self.gap.borrow().is_none() {
            *self.gap.borrow_mut() = self.sink.borrow_mut().push(text).err();
        }
    }

    fn tag(&self, tag: &Tag) -> TokenSinkResult<()> {
        let name = &*tag.name;
        if tag.kind == TagKind::EndTag {
            self.skipped.borrow_mut().take_if(|skipped| skipped.as_str() == name);
        }
        if !INLINE.contains(&name) {
            self.sink.borrow_mut().separate(if matches!(name, "td" | "th" | "img" | "input") { '\t' } else { '\n' });
        }
        if tag.kind == TagKind::EndTag {
            return TokenSinkResult::Continue;
        }
        for shown in tag.attrs.iter().filter(|attribute| matches!(&*attribute.name.local, "alt" | "title" | "value" | "placeholder")) {
            self.sink.borrow_mut().separate(' ');
            self.push(&shown.value);
            self.sink.borrow_mut().separate(' ');
        }
        match name {
            "script" | "style" => {
                *self.skipped.borrow_mut() = Some(name.to_owned());
                TokenSinkResult::RawData(if name == "script" { RawKind::ScriptData } else { RawKind::Rawtext })
            }
            "title" | "textarea" => TokenSinkResult::RawData(RawKind::Rcdata),
            "xmp" | "iframe" | "noembed" | "noframes" => TokenSinkResult::RawData(RawKind::Rawtext),
            "plaintext" => TokenSinkResult::Plaintext,
            _ => TokenSinkResult::Continue,
        }
    }
}

impl TokenSink for Words<'_, '_> {
    type Handle = ();

    fn process_token(&self, token: Token, _: u64) -> TokenSinkResult<()> {
        match token {
            Token::TagToken(tag) => return self.tag(&tag),
            Token::CharacterTokens(text) if self.skipped.borrow().is_none() => self.push(&text),
            _ => {}
        }
        TokenSinkResult::Continue
    }
}
