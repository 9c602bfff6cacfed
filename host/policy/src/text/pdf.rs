//! Text of PDF (ISO 32000-2): what would be drawn on its pages, annotations and filled forms among it, in the order in which it is drawn.

use super::{Gap, Sink};
use bytes::Bytes;
use hayro_interpret::font::{Glyph, GlyphRun};
use hayro_interpret::hayro_cmap::BfString;
use hayro_interpret::hayro_syntax::Pdf;
use hayro_interpret::kurbo::{Affine, BezPath, Point, Rect, Vec2};
use hayro_interpret::{
    BlendMode, ClipPath, Context, Device, DrawMode, DrawProps, Image, ImageDrawProps, InterpreterCache, InterpreterSettings, SoftMask,
    interpret_page,
};
use std::sync::Arc;

/// The height of a line in the coordinates of a glyph.
const LINE: f64 = 1_000.0;

/// Adds the text of all pages.
pub(super) fn read(octets: &Bytes, sink: &mut Sink<'_>) -> Result<(), Gap> {
    let pdf = Pdf::new(Arc::new(octets.clone())).map_err(|_| Gap::Damaged)?;
    let about = pdf.metadata();
    for text in [&about.title, &about.subject, &about.keywords].into_iter().flatten() {
        sink.push(&crate::mime::guess(text))?;
        sink.separate('\n');
    }
    let mut page_of = Page { sink, before: None, gap: None };
    for page in pdf.pages().iter() {
        let cache = InterpreterCache::new();
        let mut context = Context::new(Affine::IDENTITY, Rect::new(0.0, 0.0, 1.0, 1.0), &cache, pdf.xref(), InterpreterSettings::default());
        interpret_page(page, &mut context, &mut page_of);
        page_of.sink.separate('\n');
        page_of.before = None;
        if let Some(gap) = page_of.gap {
            return Err(gap);
        }
        page_of.sink.on_time()?;
    }
    Ok(())
}

/// The page that is drawn on: glyphs become words again by where they stand.
struct Page<'s, 'a> {
    sink: &'s mut Sink<'a>,
    /// Where the last glyph ended, and the size of its line.
    before: Option<(Point, f64)>,
    gap: Option<Gap>,
}

impl Page<'_, '_> {
    /// Adds one glyph that stands at the origin of `place`.
    fn add(&mut self, glyph: &Glyph<'_>, place: Affine) {
        let Some(text) = glyph.as_unicode() else { return };
        let (start, line) = (place * Point::ZERO, place * Point::new(0.0, LINE));
        let size = (line - start).hypot().max(f64::EPSILON);
        let advance = match glyph {
            Glyph::Outline(outline) => outline.advance_width(),
            Glyph::Type3(drawn) => drawn.advance_width(),
        };
        let end = place * Point::new(f64::from(advance.unwrap_or(500.0)), 0.0);
        if let Some((last, last_size)) = self.before {
            self.gap_between(start - last, end - start, size.max(last_size));
        }
        self.before = Some((end, size));
        let added = match &text {
            BfString::Char(character) => self.sink.push(character.encode_utf8(&mut [0; 4])),
            BfString::String(text) => self.sink.push(text),
        };
        self.gap = self.gap.or(added.err());
    }

    /// What stands between two glyphs: nothing, the end of a word, or that of a line.
    fn gap_between(&mut self, moved: Vec2, direction: Vec2, size: f64) {
        let along = direction.hypot();
        let forward = if along > 0.0 { moved.dot(direction) / along } else { moved.x };
        let across = (moved.hypot2() - forward * forward).max(0.0).sqrt();
        if across > size / 2.0 || forward < -size {
            self.sink.separate('\n');
        } else if forward > size / 6.0 {
            self.sink.separate(' ');
        }
    }
}

impl<'p> Device<'p> for Page<'_, '_> {
    fn draw_glyph_run(&mut self, run: &GlyphRun<'_, 'p>, props: DrawProps<'p>, _: &DrawMode) {
        for glyph in run.glyphs() {
            if self.gap.is_none() {
                self.add(glyph, props.transform * glyph.transform());
            }
        }
    }

    fn draw_path(&mut self, _: &BezPath, _: DrawProps<'p>, _: &DrawMode) {}
    fn push_clip_path(&mut self, _: &ClipPath) {}
    fn push_transparency_group(&mut self, _: f32, _: Option<SoftMask<'p>>, _: BlendMode) {}
    fn draw_image(&mut self, _: Image<'p, '_>, _: ImageDrawProps<'p>) {}
    fn pop_clip(&mut self) {}
    fn pop_transparency_group(&mut self) {}
}
