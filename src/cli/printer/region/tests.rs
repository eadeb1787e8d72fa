use super::*;
use crate::cli::printer::testing::Screen;

const SIZE: Size = Size {
    columns: 30,
    rows: 20,
};

fn lines(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

/// A region and the screen that it is drawn on.
struct Stage {
    region: Region,
    screen: Screen,
    writes: Vec<usize>,
}

impl Stage {
    fn new() -> Self {
        Self {
            region: Region::new(),
            screen: Screen::new(SIZE.columns),
            writes: Vec::new(),
        }
    }

    fn draw(&mut self, texts: &[&str], columns: usize) {
        let mut out = Vec::new();
        let size = Size { columns, ..SIZE };
        self.region.draw(lines(texts), size, &mut out);
        self.screen.feed(&out);
        self.writes.push(out.len());
    }

    fn log(&mut self, text: &str, columns: usize) {
        let mut out = Vec::new();
        self.region
            .draw(Vec::new(), Size { columns, ..SIZE }, &mut out);
        out.extend_from_slice(text.as_bytes());
        self.screen.feed(&out);
    }
}

#[test]
fn rows_come_change_and_go_below_the_logs() {
    let mut stage = Stage::new();
    stage.screen.feed(b"before\n");
    stage.draw(
        &["\x1b[32mapi\x1b[0m starting", "web waiting", "db waiting"],
        30,
    );
    assert_eq!(
        stage.screen.text(),
        "before\napi starting\nweb waiting\ndb waiting"
    );
    stage.draw(&["api ok", "web waiting"], 30);
    assert_eq!(stage.screen.text(), "before\napi ok\nweb waiting");
    stage.log("api | one\napi | two\n", 30);
    stage.draw(&["web starting"], 30);
    assert_eq!(
        stage.screen.text(),
        "before\napi | one\napi | two\nweb starting"
    );
    stage.draw(&[], 30);
    assert!(!stage.region.is_visible());
    stage.screen.feed(b"after\n");
    assert_eq!(stage.screen.text(), "before\napi | one\napi | two\nafter");
}

#[test]
fn a_frame_like_the_last_one_writes_nothing() {
    let mut stage = Stage::new();
    stage.draw(&["api starting"], 30);
    stage.draw(&["api starting"], 30);
    assert_eq!(stage.writes[1], 0);
}

#[test]
fn no_row_is_filled_with_blanks() {
    let mut out = Vec::new();
    let mut region = Region::new();
    region.draw(lines(&["a", "b"]), SIZE, &mut out);
    assert_eq!(out, b"a\r\nb");
}

#[test]
fn a_screen_that_becomes_narrower_keeps_its_logs_and_no_rest_of_the_region() {
    let mut stage = Stage::new();
    stage.screen.feed(b"log one\nlog two\n");
    stage.draw(&["api starting for a long time", "web waiting for api"], 30);
    stage.screen.shrink(10);
    stage.draw(&["api star…", "web wait…"], 10);
    assert_eq!(
        stage.screen.text(),
        "log one\nlog two\napi star…\nweb wait…"
    );
    stage.screen.shrink(6);
    stage.log("log\n", 6);
    assert_eq!(stage.screen.text(), "log on\ne\nlog tw\no\nlog");
}

#[test]
fn wide_characters_and_colours_are_measured() {
    assert_eq!(width("\x1b[1;31m日本\x1b[0m ok"), 7);
}
