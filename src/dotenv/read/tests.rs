use super::*;

/// Reads without any environment; the values by key, in order.
fn values(text: &str) -> Vec<(String, Option<String>)> {
    let contents = read(text.as_bytes(), |_| None);
    assert_eq!(contents.errors, [], "{text:?}");
    contents
        .entries
        .into_iter()
        .map(|entry| (entry.key, entry.value))
        .collect()
}

#[track_caller]
fn reads(line: &str, key: &str, value: &str) {
    assert_eq!(
        values(line),
        [(key.to_owned(), Some(value.to_owned()))],
        "{line:?}"
    );
}

/// A byte as `line:column`.
fn place(bytes: &[u8], at: usize) -> String {
    let text = String::from_utf8_lossy(bytes);
    let before = &text.strip_prefix('\u{feff}').unwrap_or(&text)[..at];
    let line = before.rsplit('\n').next().unwrap_or_default();
    let number = before.matches('\n').count() + 1;
    format!("{number}:{}", line.chars().count() + 1)
}

/// The errors as `line:column code`.
fn errors(bytes: &[u8]) -> Vec<String> {
    read(bytes, |_| None)
        .errors
        .iter()
        .map(|e| format!("{} {}", place(bytes, e.at), e.kind.code()))
        .collect()
}

#[test]
fn lines_mean_what_they_mean_to_compose() {
    for (line, key, value) in [
        ("FOO=bar", "FOO", "bar"),
        ("FOO =bar", "FOO", "bar"),
        ("FOO= bar", "FOO", "bar"),
        (" \tFOO=bar ", "FOO", "bar"),
        ("FOO='bar'", "FOO", "bar"),
        (r#"FOO="escaped\"bar""#, "FOO", r#"escaped"bar"#),
        (r#"FOO="\"quoted\"""#, "FOO", r#""quoted""#),
        (r#"FOO="'d'""#, "FOO", "'d'"),
        ("OPTION_A: 1", "OPTION_A", "1"),
        ("OPTION_A: Foo=bar", "OPTION_A", "Foo=bar"),
        ("OPTION_A=1:B", "OPTION_A", "1:B"),
        ("export OPTION_A=2", "OPTION_A", "2"),
        (r"export OPTION_B='\n'", "OPTION_B", r"\n"),
        ("export exportFoo=2", "exportFoo", "2"),
        ("exportFOO=2", "exportFOO", "2"),
        ("export_FOO =2", "export_FOO", "2"),
        ("export.FOO= 2", "export.FOO", "2"),
        ("  export\tOPTION_A=2", "OPTION_A", "2"),
        ("export = x", "export", "x"),
        (r#"FOO="bar\nbaz""#, "FOO", "bar\nbaz"),
        (r"FOO=a\tb", "FOO", r"a\tb"),
        (r#"FOO="a\tb""#, "FOO", "a\tb"),
        (
            r#"KEY="Z\aZ\bZ\fZ\nZ\rZ\tZ\vZ\\Z\0123Z""#,
            "KEY",
            "Z\u{7}Z\u{8}Z\u{c}Z\nZ\rZ\tZ\u{b}Z\\ZSZ",
        ),
        ("FOO.BAR-2[0]=foobar", "FOO.BAR-2[0]", "foobar"),
        ("456 = ABC", "456", "ABC"),
        ("FOO=foobar=", "FOO", "foobar="),
        ("FOO=bar # this is foo", "FOO", "bar"),
        ("FOO=bar #", "FOO", "bar"),
        ("FOO=123#not-a-comment", "FOO", "123#not-a-comment"),
        ("FOO=#x", "FOO", "#x"),
        ("FOO= # x", "FOO", "# x"),
        (r#"FOO="$\$X""#, "FOO", "$$X"),
        ("FOO=\"${X:-a\nb}\"", "FOO", "a\nb"),
        ("FOO=\"bar#baz\"#comment", "FOO", "bar#baz"),
        ("FOO='bar#baz' # comment", "FOO", "bar#baz"),
        (r#"FOO="bar\n\ b\az""#, "FOO", "bar\n\\ b\u{7}z"),
        (r#"FOO="bar\\\n\ b\az""#, "FOO", "bar\\\n\\ b\u{7}z"),
        (r#"FOO="bar\\r\ b\az""#, "FOO", "bar\\r\\ b\u{7}z"),
        (r#"FOO="bar\nbaz\\""#, "FOO", "bar\nbaz\\"),
        (r#"K="\0123\09\0999\01""#, "K", r"S\09\0999\01"),
        (r#"K="\x07\u12e4\c\'\`""#, "K", r"\x07\u12e4\c\'\`"),
        (r"K='Let\'s \\ go\x'", "K", r"Let's \\ go\x"),
        (r"K='a\\'", "K", r"a\\"),
        ("K='a\nb'", "K", "a\nb"),
        ("K=", "K", ""),
        ("K=''", "K", ""),
        ("K=a\r\n", "K", "a"),
        ("\u{feff}K=ü", "K", "ü"),
        ("K=\u{a0} x\u{85}", "K", "x"),
    ] {
        reads(line, key, value);
    }
}

#[test]
fn blank_lines_and_comments_say_nothing() {
    for text in [
        "",
        "\n",
        "\r\n",
        "\t\t ",
        "# c",
        "\t # c\n\n#\\\n",
        "\u{feff}",
    ] {
        assert_eq!(values(text), [], "{text:?}");
    }
}

#[test]
fn a_key_alone_is_inherited_also_at_the_end_of_the_file() {
    let inherited = |key: &str| (key.to_owned(), None);
    assert_eq!(
        values("A\nexport B\r\n C "),
        [inherited("A"), inherited("B"), inherited("C")]
    );
}

#[test]
fn several_quoted_assignments_may_share_a_line() {
    let contents = read(b"A='1' B=\"2\"\nC=3 D=4", |_| None);
    let lines: Vec<_> = contents
        .entries
        .iter()
        .map(|e| (e.key.as_str(), e.line))
        .collect();
    assert_eq!(lines, [("A", 1), ("B", 1), ("C", 2)]);
    assert_eq!(contents.entries[2].value.as_deref(), Some("3 D=4"));
}

#[test]
fn variables_are_replaced_but_for_single_quotes() {
    let set = |name: &str| match name {
        "SET" => Some("v".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    };
    for (value, meaning) in [
        ("$SET", "v"),
        ("${SET}x", "vx"),
        ("\"a $SET\"", "a v"),
        ("'a $SET'", "a $SET"),
        (r#""\$SET \${SET} $SET""#, "$SET ${SET} v"),
        ("$$SET", "$SET"),
        ("$$$SET", "$v"),
        ("a$", "a$"),
        ("$1$(x)$<P>", "$1$(x)$<P>"),
        (r"\$SET", r"\v"),
        ("$UNSET|", "|"),
        ("${UNSET-d}${EMPTY-d}${SET-d}", "dv"),
        ("${UNSET:-d}${EMPTY:-d}${SET:-d}", "ddv"),
        ("${UNSET+a}${EMPTY+a}${SET+a}", "aa"),
        ("${UNSET:+a}${EMPTY:+a}${SET:+a}", "a"),
        ("${SET?e}${EMPTY?e}${SET:?e}", "vv"),
        ("${UNSET:-${EMPTY:-$SET}}}", "v}"),
        ("${UNSET:-{}}", "{}"),
        ("${UNSET:-a:-b}", "a:-b"),
        (r#""${UNSET:-a\tb\$SET}""#, "a\tb$SET"),
    ] {
        let contents = read(format!("K={value}").as_bytes(), set);
        assert_eq!(contents.errors, [], "{value}");
        assert_eq!(
            contents.entries[0].value.as_deref(),
            Some(meaning),
            "{value}"
        );
    }
}

#[test]
fn the_environment_wins_over_earlier_keys_and_these_over_nothing() {
    let text = b"A=1\nB=$A\nC=${D}\nA=2\nE=$A\n";
    let get = |contents: &Contents| {
        let values = contents.entries.iter().filter_map(|e| e.value.clone());
        values.collect::<Vec<_>>().join(",")
    };
    assert_eq!(get(&read(text, |_| None)), "1,1,,2,2");
    let shell = |name: &str| (name == "A").then(|| "5".to_owned());
    assert_eq!(get(&read(text, shell)), "1,5,,2,5");
}

#[test]
fn unset_variables_are_told_with_their_place() {
    let text = "A='ü'\nB=\"ü $X ${Y:-$Z}\n $W\"".as_bytes();
    let contents = read(text, |_| None);
    let unset: Vec<_> = contents
        .unset
        .iter()
        .map(|u| format!("{} {}", u.name, place(text, u.at)))
        .collect();
    assert_eq!(unset, ["X 2:6", "Z 2:14", "W 3:2"]);
}

#[test]
fn every_mistake_is_found_at_its_place_and_the_rest_is_read() {
    let text = b"GOOD=1\n=x\nA B=1\n  lol$wut\nC=\"a\"b\nD=${1}\n\
        E=\"one\n two ${\n three\"\nF=${X:?set it}\nG=a\xffb\nH\xff=1\nI='\xff'\n# \xff\nJ=\"\\0000\"\nLAST=2\nK='never";
    assert_eq!(
        errors(text),
        [
            "2:1 stack::dotenv::key_missing",
            "3:2 stack::dotenv::key_space",
            "4:6 stack::dotenv::key_character",
            "5:6 stack::dotenv::text_after_quote",
            "6:3 stack::dotenv::bad_variable",
            "8:6 stack::dotenv::bad_variable",
            "10:3 stack::dotenv::required_variable",
            "11:4 stack::dotenv::not_utf8",
            "12:2 stack::dotenv::not_utf8",
            "13:4 stack::dotenv::not_utf8",
            "15:3 stack::dotenv::nul",
            "17:3 stack::dotenv::unterminated_quote",
        ]
    );
    let keys: Vec<_> = read(text, |_| None)
        .entries
        .into_iter()
        .map(|e| e.key)
        .collect();
    assert_eq!(keys, ["GOOD", "LAST"]);
    assert_eq!(
        read(text, |_| None).errors[6].kind.to_string(),
        "`X` is required: set it"
    );
}

#[test]
fn variables_need_a_name_an_operator_and_a_brace() {
    for bad in [
        "${}",
        "${A",
        "${A/b}",
        "${-x}",
        "${A:}",
        "${A:=x}",
        "${ A}",
        "${A:-${}}",
    ] {
        assert_eq!(errors(format!("K={bad}").as_bytes()).len(), 1, "{bad}");
    }
}

#[test]
fn unclosed_quotes_are_errors_whatever_is_in_them() {
    for bad in [
        "\"", "\"v", r#""v\""#, "\"v'", "'", "'v", r"'v\'", "'v\"", r"'v\\\'",
    ] {
        assert_eq!(
            errors(format!("KEY={bad}").as_bytes()),
            ["1:5 stack::dotenv::unterminated_quote"],
            "{bad}"
        );
    }
}

#[test]
fn a_file_cannot_grow_without_bound() {
    let doubled = (1..200).map(|n| format!("A{n}=$A{0}$A{0}\n", n - 1));
    let text = "A0=xxxxxxxxxx\n".to_owned() + &doubled.collect::<String>();
    let contents = read(text.as_bytes(), |_| None);
    assert_eq!(contents.errors[0].kind, ReadErrorKind::TooLong);
    let deep = format!("K={}x{}", "${A:-".repeat(100_000), "}".repeat(100_000));
    assert_eq!(
        errors(deep.as_bytes()),
        ["1:323 stack::dotenv::nested_too_deeply"]
    );
}
