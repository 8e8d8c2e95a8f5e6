"""Causes of the failures of each server, found by hand: ids of checks, the behaviour, and the rule that it breaks."""

from __future__ import annotations

_NUL = "*-nul-in-a-*"
_END = "rfc1939-3-unfinished-command-at-the-end"
_FIRST_DOT = "rfc1939-5-retr-dot-first rfc1939-7-top-stuffs-the-first-octet"
_FINAL = "rfc1939-11-size-no-final-line-end"
_SECOND = "rfc1939-4-second-session-removes-nothing"
_ARGUMENTS = "*-with-argument *-capa-argument *-stls-argument *-utf8-argument"
_TWO = "*-two-arguments"
_TRAILING = "*-trailing"
_PASS = "*-pass-later *-name-is-forgotten"
_CAPA = "rfc2449-5-capa-both rfc5034-3-sasl-after-auth"

ENDS_AT_NUL = (
    "The server cuts a command at NUL: `USER name\\0x` counts as `USER name`, and `LIST 1\\0x` as `LIST 1`. Arguments"
    " are printable ASCII characters (section 3), so the command is invalid."
)
RUNS_AT_THE_END = (
    "An incomplete command runs at the end of the client's input: `QUIT` without CRLF removes the marked messages. A"
    " command ends with CRLF (section 3), and the missing rest may belong to another command."
)
FIRST_DOT = (
    "A dot as the first octet of a message is not byte-stuffed. The client strips it, and a first line of one dot would"
    " end the message. Section 3 requires byte-stuffing of any line."
)
FINAL = (
    "For a message without a final line end LIST shows two octets fewer than RETR sends: it does not count the added"
    " CRLF."
)
SECOND = (
    "Two sessions can open a maildrop at once, and messages that one removes are missing in the other. Section 4"
    " requires an exclusive-access lock, so that no message is removed before UPDATE."
)
ARGUMENTS = "The server ignores arguments of commands that have none (section 5: Arguments: none)."
TWO = "The server ignores arguments after the message-number: `RETR 1 2` counts as `RETR 1`."
TRAILING = "The server ignores characters after the digits of a number: `1x`, `1,2` and `0x1` count as numbers."
HUGE = "Numbers wrap at 32 bits: DELE, RETR, LIST, TOP and UIDL take 4294967297 for message 1."
NEGATIVE = "TOP accepts a negative number of lines (section 7: a non-negative number)."
CLOSED_AT_RETR = "The other session is closed without a reply at its next RETR."
PASS_LATER = (
    "The server remembers the name across other commands, or across STLS. PASS may only be given immediately after USER"
    " (section 7)."
)
FAILED_HANDSHAKE = (
    "After the +OK to STLS and a failed handshake, commands run in clear text again. The TLS negotiation begins"
    " immediately after the +OK, and an attacker that disturbs it must not get a session in clear text."
)
CAPA_BOTH = (
    "CAPA leaves out SASL and USER after login. Capabilities of the AUTHORIZATION state MUST be announced in both"
    " states (RFC 2449 section 5, and RFC 5034 section 3 for SASL)."
)

CAUSES: dict[str, tuple[tuple[str, str], ...]] = {
    "geventpop3": (
        (
            "rfc6856-2.1-surrogate",
            "By default RETR sends UTF-8 headers unchanged without UTF8 too, because all clients accept them."
            ' `utf8_messages = "convert"` or `"refuse"` follows the rule ([conformance.md](conformance.md)).',
        ),
    ),
    "dovecot-pop3d": (
        (_FIRST_DOT, FIRST_DOT),
        (_NUL, ENDS_AT_NUL),
        (_CAPA, CAPA_BOTH),
        ("rfc1939-7-user-without-name", "USER without a name is `+OK`. The name is required (section 7)."),
        (_SECOND, f"{SECOND} `pop3_lock_session = yes` follows the rule; the default is no."),
        (_ARGUMENTS, ARGUMENTS),
        (_PASS, PASS_LATER),
        (_FINAL, FINAL),
    ),
    "courier-pop": (
        (
            "rfc2595-4-injected*",
            "Octets in one packet with STLS in clear text run within TLS, complete commands and parts of them. An"
            " attacker between client and server can insert commands before those of the client, as in CVE-2011-0411.",
        ),
        ("*-huge", HUGE),
        (_FIRST_DOT, FIRST_DOT),
        (
            "rfc2449-6.6-pipelined-login rfc5034-4-pipelined-auth",
            "Commands in one packet with PASS or AUTH are lost: the login process has read them, and another process"
            " continues. PIPELINING is announced, so each command MUST be processed in turn.",
        ),
        (
            _NUL,
            "A line with NUL gets no reply, nor do the commands after it. A server MUST answer an invalid command"
            " with a negative status indicator (section 3).",
        ),
        (_SECOND, SECOND),
        (_END, RUNS_AT_THE_END),
        (
            "rfc1939-7-top-lines-negative rfc1939-7-top-lines-word",
            "TOP accepts a negative number of lines and a word in its place (section 7: a non-negative number).",
        ),
        (
            "rfc1939-7-pass-again",
            "After a wrong password PASS succeeds without a new USER (section 7: immediately after USER).",
        ),
        (_PASS, PASS_LATER),
        (
            "rfc4616-2-plain-authorization",
            "The server ignores the authorization identity of PLAIN: the login as another user succeeds.",
        ),
        ("rfc2595-4-failed-handshake", FAILED_HANDSHAKE),
        (_TRAILING, TRAILING),
        (_TWO, TWO),
        (_ARGUMENTS, ARGUMENTS),
        (_FINAL, FINAL),
        ("rfc6856-2-utf8-after-login", "UTF8 succeeds after login. It is valid only in the AUTHORIZATION state."),
    ),
    "popa3d": (
        (
            "rfc1939-7-uidl-of-bodies",
            "A unique-id is a hash of some header fields: messages that differ only in the body have the same one. It"
            " must identify a message uniquely within a maildrop (section 7), except for copies.",
        ),
        (_END, RUNS_AT_THE_END),
        (_SECOND, f"{SECOND} {CLOSED_AT_RETR}"),
        (_PASS, PASS_LATER),
    ),
    "mailutils-pop3d": (
        (
            "rfc1939-7-top-1 rfc1939-7-top-3 rfc1939-7-top-all rfc1939-7-top-counts-the-body rfc1939-7-top-stuffs"
            " rfc1939-7-top-stuffs-the-first-octet rfc1939-7-top-of-long-lines",
            "TOP sends an extra empty line between header and body (section 7: the lines of the message).",
        ),
        (
            "rfc1939-3-very-long-line",
            "The reply to a line of 2,000 octets begins with a part of that line instead of `-ERR` (section 3).",
        ),
        ("rfc1939-5-dele-marked", "DELE of a marked message is `+OK` (section 5: generates an error)."),
        (_NUL, ENDS_AT_NUL),
        (_END, RUNS_AT_THE_END),
        ("rfc1939-7-top-lines-negative", NEGATIVE),
        (_TRAILING, TRAILING),
        (_FINAL, FINAL),
    ),
    "twisted.mail": (
        (
            "rfc1939-6-lost-connection rfc1939-6-end-of-input rfc1939-5-no-marks-at-login",
            "DELE removes at once, so a lost connection loses mail. Only QUIT enters UPDATE (section 6).",
        ),
        (
            "rfc1939-5-list-marked rfc1939-5-stat-leaves-out rfc1939-5-list-leaves-out rfc1939-5-numbers-stay"
            " rfc1939-5-all-marked",
            "LIST and STAT still show marked messages, with 0 octets (section 5: not listed, not counted).",
        ),
        (
            "rfc1939-5-dele-marked rfc1939-7-uidl-marked rfc1939-7-uidl-leaves-out",
            "DELE and UIDL of a marked message raise an exception in the server, which closes or never replies.",
        ),
        (
            "rfc1939-5-dele-zero rfc1939-5-dele-word",
            "`DELE 0` and `DELE -1` mark messages from the end of the maildrop, as negative indices do in Python.",
        ),
        (
            "rfc1939-11-* rfc1939-5-sizes rfc1939-5-list-sizes",
            "Sizes count a line end as one octet (section 11: as two octets).",
        ),
        (_FIRST_DOT, FIRST_DOT),
        (
            "rfc1939-5-retr-large",
            "A dot at the beginning of a line is not byte-stuffed at the boundary of two parts of a long message.",
        ),
        (
            "rfc1939-7-uidl-one",
            "`UIDL 1` leaves out the message-number (section 7: a unique-id listing).",
        ),
        (
            f"*-without-argument {_TWO} *-dele-beyond *-dele-huge *-dele-trailing {_ARGUMENTS} rfc1939-7-no-password"
            " rfc1939-7-user-without-name rfc1939-7-unknown-user-without-password rfc1939-7-apop-arguments"
            " rfc1939-7-top-lines-missing rfc1939-3-eight-bit-after-login",
            "Missing, extra and invalid arguments raise an exception in the server, which closes the connection"
            " without `-ERR` (section 3: MUST respond).",
        ),
        ("rfc1939-3-user-after-login", "USER after login is `+OK` (section 3: MUST be refused)."),
        (_END, RUNS_AT_THE_END),
        (_SECOND, SECOND),
        (_PASS, PASS_LATER),
    ),
    "solid-pop3d": (
        (
            f"rfc1939-5-retr-dot-last rfc1939-5-retr-no-final-line-end {_FINAL}",
            "A message without a final line end makes the server refuse every login (`-ERR message is damaged`), so no"
            " mail can be retrieved. Such a message is valid in a Maildir.",
        ),
        ("*-huge", HUGE),
        ("rfc1939-7-top-lines-negative", NEGATIVE),
        (_TRAILING, f"{TRAILING} `DELE 1x` marks message 1."),
        (_TWO, TWO),
        (_ARGUMENTS, ARGUMENTS),
        (_SECOND, f"{SECOND} {CLOSED_AT_RETR}"),
        (_PASS, PASS_LATER),
    ),
    "cyrus-pop3d": (
        (
            "rfc5034-4-pipelined-auth",
            "Commands in one packet with AUTH are lost, and the client waits for ever. PIPELINING is announced, so each"
            " command MUST be processed in turn.",
        ),
        (_NUL, ENDS_AT_NUL),
        (_CAPA, CAPA_BOTH),
        (_END, RUNS_AT_THE_END),
        ("rfc2595-4-failed-handshake", FAILED_HANDSHAKE),
        (_PASS, PASS_LATER),
    ),
}

NOT_TRIED: dict[str, str] = {
    "WildDuck, fengtang (npm)": "each needs a store that has to be written first",
    "qpopper, ipopd, Citadel, xmail, teapop, dbmail, GreenMail, Mailpit, Inbucket, James": (
        "not available in Debian 12, PyPI and npm"
    ),
}
