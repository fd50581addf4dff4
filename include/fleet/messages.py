"""How news of the fleet are said: one message in four forms, grouped by what it is and by host, and cut.

Pure. Whatever a cluster is called or described as is text here, never markup.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from include.fleet import news

_SHOWN = 12
"""So many items are shown under one heading."""
_HOSTS_SHOWN = 6
"""Of so many hosts."""


@dataclass(frozen=True)
class Message:
    """One message about the whole fleet, as templates of a notifier take it: `{{ news.subject }}` and so on."""

    subject: str
    """One line of plain text."""
    text: str
    """Plain text."""
    markdown: str
    html: str
    """Escaped: nothing in it comes from a cluster as it is."""


def compose(items: Iterable[news.Item], *, links: Mapping[str, str]) -> Message:
    """Return the message: grouped by what it is and by host, and cut to a readable length.

    *links* are addresses by what stands behind them; they end the message.
    """
    groups = [_Group.of(heading, [item for item in items if item.heading is heading]) for heading in news.Heading]
    groups = [group for group in groups if group.number]
    return Message(
        subject=_subject(groups),
        text=_Text().message(groups, links),
        markdown=_Markdown().message(groups, links),
        html=_Html().message(groups, links),
    )


@dataclass(frozen=True)
class _Group:
    """What is shown under one heading."""

    heading: news.Heading
    number: int
    hosts: Sequence[tuple[str, Sequence[news.Item], int]] = ()
    """Each with its name, the items that are shown, and how many more it has."""
    more_hosts: int = 0
    more: int = 0
    """Items of the hosts that are not shown."""

    @classmethod
    def of(cls, heading: news.Heading, items: Sequence[news.Item]) -> _Group:
        by_host: dict[str, list[news.Item]] = {}
        for item in items:
            by_host.setdefault(item.host, []).append(item)
        shown = list(by_host.items())[:_HOSTS_SHOWN]
        each = _SHOWN // max(1, len(shown))
        hosts = [(name, found[:each], len(found[each:])) for name, found in shown]
        left = list(by_host.values())[_HOSTS_SHOWN:]
        return cls(heading, len(items), hosts, len(left), sum(map(len, left)))

    @property
    def title(self) -> str:
        """The heading, with how many they are."""
        return self.heading.value[0] if self.is_of_reconciling else f"{self.heading.value[0]}: {self.number}"

    @property
    def is_of_reconciling(self) -> bool:
        """Whether it is about no host."""
        return self.heading in (news.Heading.FAILING, news.Heading.WORKING)


def _subject(groups: Sequence[_Group]) -> str:
    """Return the sum; a single thing by its name."""
    if len(groups) == 1 and groups[0].number == 1 and not groups[0].is_of_reconciling:
        (_, (item,), _), words = groups[0].hosts[0], groups[0].heading.value[1]
        return f"KubeSphere fleet: {'/'.join(filter(None, (item.host, item.cluster)))} {words}"
    told = []
    for group in groups:
        counted = not group.is_of_reconciling and group.heading not in (news.Heading.HOST, news.Heading.OVER)
        told.append(f"{group.number} {group.heading.value[1]}" if counted else group.heading.value[1])
    return f"KubeSphere fleet: {', '.join(told)}"


class _Text:
    """Plain text; the other forms say it otherwise."""

    def message(self, groups: Sequence[_Group], links: Mapping[str, str]) -> str:
        """Return the whole message."""
        parts = [self._group(group) for group in groups]
        return "\n\n".join([*parts, *([self.links(links)] if links else [])]) + "\n"

    def _group(self, group: _Group) -> str:
        lines = [self.title(self.escape(group.title))]
        for name, items, more in group.hosts:
            if name:
                lines.append(self.host(self.escape(name)))
            lines += [self.item(self.escape(item.cluster), self.escape(item.said)) for item in items]
            if more:
                lines.append(self.item("", f"and {more} more"))
        if group.more_hosts:
            lines.append(self.host(f"and {group.more} more on {group.more_hosts} other hosts"))
        return "\n".join(lines)

    def escape(self, words: str) -> str:
        """Return words as they may stand in a message."""
        return words

    def title(self, words: str) -> str:
        """Return a heading."""
        return words

    def host(self, name: str) -> str:
        """Return the line above a host's items."""
        return f"  {name}"

    def item(self, cluster: str, words: str) -> str:
        """Return an item."""
        return f"    - {cluster}: {words}" if cluster else f"    - {words}"

    def links(self, links: Mapping[str, str]) -> str:
        """Return the end of a message."""
        return "\n".join(f"{name}: {address}" for name, address in links.items())


class _Markdown(_Text):
    _ESCAPED = str.maketrans({character: f"\\{character}" for character in "\\`*_[]<>|~#!&"})

    def escape(self, words: str) -> str:
        return words.translate(self._ESCAPED)

    def title(self, words: str) -> str:
        return f"**{words}**\n"

    def host(self, name: str) -> str:
        return f"- {name}"

    def item(self, cluster: str, words: str) -> str:
        return f"  - **{cluster}**: {words}" if cluster else f"  - {words}"

    def links(self, links: Mapping[str, str]) -> str:
        return " · ".join(f"[{name}]({address})" for name, address in links.items())


class _Html(_Text):
    """One block for each line, with the indents as styles: mail programs agree on little else."""

    def escape(self, words: str) -> str:
        return html.escape(words)

    def title(self, words: str) -> str:
        return f'<h3 style="margin:1em 0 0.3em">{words}</h3>'

    def host(self, name: str) -> str:
        return f'<div style="margin-left:1em"><strong>{name}</strong></div>'

    def item(self, cluster: str, words: str) -> str:
        said = f"<strong>{cluster}</strong>: {words}" if cluster else words
        return f'<div style="margin:0.2em 0 0.2em 2em">{said}</div>'

    def links(self, links: Mapping[str, str]) -> str:
        shown = [f'<a href="{html.escape(address)}">{html.escape(name)}</a>' for name, address in links.items()]
        return f"<p>{' · '.join(shown)}</p>"
