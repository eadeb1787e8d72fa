use super::*;

use std::path::Path;

fn record(offset: u64, length: u64) -> Record {
    Record {
        time: 1_000 + offset,
        offset,
        length,
        run: 0xfeed_0000_0000_0001,
        dropped: 7,
        attempt: 3,
        stream: LogStream::Stderr,
        is_partial: true,
        continues: false,
        is_recovered: false,
    }
}

fn open(path: &Path) -> File {
    File::options()
        .read(true)
        .append(true)
        .create(true)
        .open(path)
        .unwrap()
}

/// Recovers a log of `log_length` bytes beside an index of `index` bytes.
fn recovered(log_length: usize, index: &[u8]) -> (u64, Vec<Record>) {
    let directory = tempfile::tempdir().unwrap();
    let mut log = open(&directory.path().join("a.log"));
    log.write_all(&vec![b'x'; log_length]).unwrap();
    let mut file = open(&directory.path().join("a.idx"));
    file.write_all(index).unwrap();
    let end = recover(&log, &mut file).unwrap();
    assert_eq!(file.metadata().unwrap().len() % RECORD_LENGTH as u64, 0);
    let mut records = Index::new(file).unwrap();
    let all = (0..records.count())
        .map(|number| records.get(number).unwrap().unwrap())
        .collect();
    (end, all)
}

#[test]
fn a_record_reads_back() {
    let record = record(5, 9);
    assert_eq!(Record::decode(&record.encode()), Some(record));
    assert_eq!(Record::decode(&[0; RECORD_LENGTH]), None, "a hole");
}

#[test]
fn a_sound_index_is_left_alone() {
    let index = [record(0, 10).encode(), record(10, 5).encode()].concat();
    assert_eq!(
        recovered(15, &index),
        (15, vec![record(0, 10), record(10, 5)])
    );
    assert_eq!(recovered(0, &[]), (0, vec![]));
}

#[test]
fn a_torn_tail_is_cut_and_the_gap_becomes_one_block() {
    let mut index = record(0, 10).encode().to_vec();
    index.extend_from_slice(&record(10, 5).encode()[..20]);
    let (end, records) = recovered(15, &index);
    assert_eq!(end, 15);
    assert_eq!(records[0], record(0, 10));
    let gap = records[1];
    assert_eq!((gap.offset, gap.length), (10, 5));
    assert_eq!((gap.run, gap.attempt), (record(0, 10).run, 3));
    assert!(gap.is_recovered && !gap.is_partial);
    assert!(gap.time >= record(0, 10).time);
    assert_eq!(records.len(), 2);
}

#[test]
fn a_log_without_an_index_becomes_one_block_of_no_run() {
    let (end, records) = recovered(100, &[]);
    assert_eq!(end, 100);
    assert_eq!(records.len(), 1);
    assert_eq!((records[0].offset, records[0].length), (0, 100));
    assert_eq!((records[0].run, records[0].attempt), (0, 0));
}

#[test]
fn records_of_bytes_that_are_gone_are_cut() {
    let index: Vec<u8> = (0..200).flat_map(|n| record(n * 10, 10).encode()).collect();
    let (end, records) = recovered(1_235, &index);
    assert_eq!(end, 1_235);
    assert_eq!(records.len(), 124);
    assert_eq!((records[123].offset, records[123].length), (1_230, 5));
    assert!(records[123].is_recovered);
    assert_eq!(recovered(0, &index), (0, vec![]));
}

#[test]
fn a_tail_of_zeros_after_a_power_cut_is_cut() {
    let mut index = record(0, 10).encode().to_vec();
    index.extend_from_slice(&[0; 3 * RECORD_LENGTH]);
    assert_eq!(recovered(10, &index), (10, vec![record(0, 10)]));
}

#[test]
fn a_walk_in_either_direction_sees_every_record() {
    let directory = tempfile::tempdir().unwrap();
    let mut file = open(&directory.path().join("a.idx"));
    for number in 0..150 {
        file.write_all(&record(number, 1).encode()).unwrap();
    }
    let mut index = Index::new(file).unwrap();
    for number in (0..150).chain((0..150).rev()) {
        assert_eq!(index.get(number).unwrap(), Some(record(number, 1)));
    }
    assert_eq!(index.get(150).unwrap(), None);
    assert_eq!(index.partition_point(|r| r.offset < 97).unwrap(), 97);
}
