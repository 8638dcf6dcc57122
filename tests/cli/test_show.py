"""What the command line prints of a model."""

from __future__ import annotations

from rowcast.cli import show


def features(count):
    return [
        {"name": f"c{i}", "kind": "text" if i % 10 == 0 else "numeric", "nullable": i % 2 == 0}
        for i in range(count)
    ]


def test_every_column_is_told_with_what_became_of_it(capsys):
    show.columns_table(features(3), {"id": "it numbers the rows"}, {"c1": "looks like codes [1]"})
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert any(words[1:6:2] == ["c0", "text", "yes"] for words in lines if len(words) > 5)
    text = "\n".join(" ".join(words) for words in lines)
    assert "looks like codes [1]" in text
    assert "not used" in text
    assert "it numbers the rows" in text


def test_of_many_columns_those_with_a_note_are_told(capsys):
    show.columns_table(features(300), {"id": "it numbers the rows"}, {"c7": "odd"})
    text = capsys.readouterr().out
    assert "c7" in text
    assert "c8" not in text
    assert "301 columns in all: 270 numeric, 30 text, 1 not used" in text


def test_of_many_columns_without_notes_the_first_are_told(capsys):
    show.columns_table(features(300), {}, {})
    text = capsys.readouterr().out
    assert "c9 " in text
    assert "c10" not in text
