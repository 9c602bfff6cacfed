//! The file of decisions: appended to, begun anew when it is large.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// An open file of lines.
#[derive(Debug)]
pub(super) struct Lines {
    path: PathBuf,
    file: File,
    octets: u64,
    rotate_octets: u64,
    keep: u32,
}

impl Lines {
    /// Opens the file, or makes it, readable to its owner and group. What a crash left without its end gets one.
    pub(super) fn open(path: &Path, rotate_octets: u64, keep: u32) -> io::Result<Self> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder)?;
        }
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o640).open(path)?;
        let mut octets = file.metadata()?.len();
        if octets > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
                octets += 1;
            }
        }
        Ok(Self { path: path.to_owned(), file, octets, rotate_octets, keep })
    }

    /// Appends whole lines; `synced` ones are on stable storage when this returns.
    pub(super) fn append(&mut self, lines: &[u8], synced: bool) -> io::Result<()> {
        if self.was_taken_away() {
            *self = Self::open(&self.path, self.rotate_octets, self.keep)?;
        }
        if self.octets > 0 && self.octets.saturating_add(lines.len() as u64) > self.rotate_octets {
            self.rotate()?;
        }
        if let Err(error) = self.file.write_all(lines) {
            // Half a line must not run into the next one.
            let _ = self.file.set_len(self.octets);
            return Err(error);
        }
        self.octets += lines.len() as u64;
        if synced { self.file.sync_data() } else { Ok(()) }
    }

    /// Whether somebody else, such as logrotate, has moved the file.
    fn was_taken_away(&self) -> bool {
        let now = fs::metadata(&self.path).map(|found| (found.dev(), found.ino())).ok();
        now != self.file.metadata().map(|own| (own.dev(), own.ino())).ok()
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        let numbered = |number: u32| PathBuf::from(format!("{}.{number}", self.path.display()));
        for number in (1..self.keep).rev() {
            match fs::rename(numbered(number), numbered(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, numbered(1))?;
        *self = Self::open(&self.path, self.rotate_octets, self.keep)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_file_is_put_aside_and_the_oldest_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep/lines.jsonl");
        let mut lines = Lines::open(&path, 10, 2).expect("opens");
        for number in 0..5 {
            lines.append(format!("line {number}\n").as_bytes(), number % 2 == 0).expect("written");
        }
        let read = |name: &str| fs::read_to_string(folder.path().join("deep").join(name)).ok();
        assert_eq!(
            [read("lines.jsonl"), read("lines.jsonl.1"), read("lines.jsonl.2"), read("lines.jsonl.3")],
            [Some("line 4\n".into()), Some("line 3\n".into()), Some("line 2\n".into()), None]
        );
    }

    #[test]
    fn a_torn_line_and_a_moved_file_harm_no_other_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lines.jsonl");
        fs::write(&path, "whole\nto").expect("written");
        let mut lines = Lines::open(&path, 1000, 2).expect("opens");
        lines.append(b"one\n", false).expect("written");
        assert_eq!(fs::read_to_string(&path).expect("there"), "whole\nto\none\n");
        fs::rename(&path, folder.path().join("elsewhere")).expect("moved");
        lines.append(b"two\n", true).expect("written");
        assert_eq!(fs::read_to_string(&path).expect("there"), "two\n");
    }
}
