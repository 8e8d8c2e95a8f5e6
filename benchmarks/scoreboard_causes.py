"""What was read by hand about the failures of each server: ids of checks, what the server does, and why it is wrong."""

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
    "A command is cut at NUL: `USER name\\0x` is taken as `USER name`, and `LIST 1\\0x` as `LIST 1`. Arguments are"
    " printable ASCII characters (section 3), so the command is invalid."
)
RUNS_AT_THE_END = (
    "A command whose line end is missing runs when the client's input ends: `QUIT` without CRLF removes what is marked."
    " A command ends with CRLF (section 3), and what was cut off may have been another one."
)
FIRST_DOT = (
    "A dot that is the first octet of a message is not byte-stuffed: the client strips it, and a first line that is a"
    " dot alone would end the message. Section 3 says any line."
)
FINAL = (
    "For a message without a final line end LIST tells two octets fewer than RETR sends: the CRLF that is added is not"
    " counted."
)
SECOND = (
    "Two sessions may have a maildrop at once, and what one removes is gone from the other. Section 4 asks for an"
    " exclusive-access lock, so that no message is removed before UPDATE."
)
ARGUMENTS = "Arguments of commands that have none are ignored (section 5: Arguments: none)."
TWO = "What stands behind the message-number is ignored: `RETR 1 2` is `RETR 1`."
TRAILING = "What stands in a number behind its digits is ignored: `1x`, `1,2` and `0x1` are numbers."
PASS_LATER = (
    "The name is remembered across other commands, or across STLS. PASS may only be given immediately after USER"
    " (section 7)."
)
FAILED_HANDSHAKE = (
    "After the +OK to STLS and a handshake that fails, commands run in clear text again. TLS negotiation begins"
    " immediately after the +OK: who disturbs it must not get a session in clear text."
)
CAPA_BOTH = (
    "CAPA leaves out SASL and USER after login. Capabilities of the AUTHORIZATION state MUST be announced in both"
    " (RFC 2449 section 5; RFC 5034 section 3 says it of SASL)."
)

CAUSES: dict[str, tuple[tuple[str, str], ...]] = {
    "geventpop3": (
        (
            "rfc6856-2.1-surrogate",
            "A message with UTF-8 in its header is by default sent as it is without UTF8 too: all clients take it."
            ' `utf8_messages = "convert"` or `"refuse"` keeps the rule ([conformance.md](conformance.md)).',
        ),
    ),
    "dovecot-pop3d": (
        (_FIRST_DOT, FIRST_DOT),
        (_NUL, ENDS_AT_NUL),
        (_CAPA, CAPA_BOTH),
        ("rfc1939-7-user-without-name", "USER without a name is `+OK`. The name is required (section 7)."),
        (_SECOND, f"{SECOND} `pop3_lock_session = yes` keeps it; the default is no."),
        (_ARGUMENTS, ARGUMENTS),
        (_PASS, PASS_LATER),
        (_FINAL, FINAL),
    ),
    "courier-pop": (
        (
            "rfc2595-4-injected*",
            "What comes along with STLS in clear text runs within TLS, whole commands and beginnings: somebody"
            " between client and server can put commands before the client's (the kind of CVE-2011-0411).",
        ),
        (
            "*-huge",
            "Numbers wrap at 32 bits: `DELE 4294967297` marks message 1, and RETR, LIST, TOP and UIDL take it for 1.",
        ),
        (_FIRST_DOT, FIRST_DOT),
        (
            "rfc2449-6.6-pipelined-login rfc5034-4-pipelined-auth",
            "What comes in one packet with PASS or AUTH is lost: the process of the login has read it, and another one"
            " goes on. PIPELINING is announced, so each command MUST be processed in turn.",
        ),
        (
            _NUL,
            "A line with NUL is not answered, and nothing that follows is. A server MUST answer an invalid command"
            " with a negative status indicator (section 3).",
        ),
        (_SECOND, SECOND),
        (_END, RUNS_AT_THE_END),
        (
            "rfc1939-7-top-lines-negative rfc1939-7-top-lines-word",
            "A number of lines that is negative or none is taken as a number. It is a non-negative number (section 7).",
        ),
        (
            "rfc1939-7-pass-again",
            "After a wrong password PASS may come again without USER (section 7: immediately after USER).",
        ),
        (_PASS, PASS_LATER),
        (
            "rfc4616-2-plain-authorization",
            "PLAIN's authorization identity is not looked at: the login as another user succeeds.",
        ),
        ("rfc2595-4-failed-handshake", FAILED_HANDSHAKE),
        (_TRAILING, TRAILING),
        (_TWO, TWO),
        (_ARGUMENTS, ARGUMENTS),
        (_FINAL, FINAL),
        ("rfc6856-2-utf8-after-login", "UTF8 is taken after login. It is valid in the AUTHORIZATION state alone."),
    ),
    "popa3d": (
        (
            "rfc1939-7-uidl-of-bodies",
            "A unique-id is a hash of some header fields: messages that differ in the body alone have one. It uniquely"
            " identifies a message within a maildrop (section 7), unless two are copies.",
        ),
        (_END, RUNS_AT_THE_END),
        (_SECOND, f"{SECOND} The other session is closed without a word at its next RETR."),
        (_PASS, PASS_LATER),
    ),
    "mailutils-pop3d": (
        (
            "rfc1939-7-top-1 rfc1939-7-top-3 rfc1939-7-top-all rfc1939-7-top-counts-the-body rfc1939-7-top-stuffs"
            " rfc1939-7-top-stuffs-the-first-octet rfc1939-7-top-of-long-lines",
            "TOP sends one empty line more between header and body. It sends the message (section 7).",
        ),
        (
            "rfc1939-3-very-long-line",
            "A line of 2,000 octets comes back as a part of its own reply, without `-ERR`.",
        ),
        ("rfc1939-5-dele-marked", "DELE of a message that is marked is `+OK` (section 5: generates an error)."),
        (_NUL, ENDS_AT_NUL),
        (_END, RUNS_AT_THE_END),
        ("rfc1939-7-top-lines-negative", "A negative number of lines is taken (section 7: a non-negative number)."),
        (_TRAILING, TRAILING),
        (_FINAL, FINAL),
    ),
    "twisted.mail": (
        (
            "rfc1939-6-lost-connection rfc1939-6-end-of-input rfc1939-5-no-marks-at-login",
            "DELE removes at once: a connection that is lost loses mail. Only QUIT enters UPDATE (section 6).",
        ),
        (
            "rfc1939-5-list-marked rfc1939-5-stat-leaves-out rfc1939-5-list-leaves-out rfc1939-5-numbers-stay"
            " rfc1939-5-all-marked",
            "LIST and STAT still show what is marked, with 0 octets (section 5: not listed, not counted).",
        ),
        (
            "rfc1939-5-dele-marked rfc1939-7-uidl-marked rfc1939-7-uidl-leaves-out",
            "DELE and UIDL of what is marked raise an error in the server: it closes, or never answers.",
        ),
        (
            "rfc1939-5-dele-zero rfc1939-5-dele-word",
            "`DELE 0` and `DELE -1` mark messages from the end of the maildrop, by Python's indices below 0.",
        ),
        (
            "rfc1939-11-* rfc1939-5-sizes rfc1939-5-list-sizes",
            "Sizes count a line end as one octet (section 11: as two octets).",
        ),
        (_FIRST_DOT, FIRST_DOT),
        (
            "rfc1939-5-retr-large",
            "A dot at the beginning of a line is not byte-stuffed where two parts of a long message meet.",
        ),
        (
            "rfc1939-7-uidl-one",
            "`UIDL 1` leaves out the message-number (section 7: a unique-id listing).",
        ),
        (
            f"*-without-argument {_TWO} *-dele-beyond *-dele-huge *-dele-trailing {_ARGUMENTS} rfc1939-7-no-password"
            " rfc1939-7-user-without-name rfc1939-7-unknown-user-without-password rfc1939-7-apop-arguments"
            " rfc1939-7-top-lines-missing rfc1939-3-eight-bit-after-login",
            "A command with too few or too many arguments, or with odd ones, raises an error in the server, which"
            " closes the connection without `-ERR` (section 3: MUST respond).",
        ),
        ("rfc1939-3-user-after-login", "USER after login is `+OK` (section 3: MUST be refused)."),
        (_END, RUNS_AT_THE_END),
        (_SECOND, SECOND),
        (_PASS, PASS_LATER),
    ),
    "solid-pop3d": (
        (
            f"rfc1939-5-retr-dot-last rfc1939-5-retr-no-final-line-end {_FINAL}",
            "One message without a final line end makes the server refuse every login (`-ERR message is damaged`):"
            " no mail can be had. Such a message is legal in a Maildir.",
        ),
        (
            "*-huge",
            "Numbers wrap at 32 bits: `DELE 4294967297` marks message 1, and RETR, LIST, TOP and UIDL take it for 1.",
        ),
        ("rfc1939-7-top-lines-negative", "A negative number of lines is taken (section 7: a non-negative number)."),
        (_TRAILING, f"{TRAILING} `DELE 1x` marks message 1."),
        (_TWO, TWO),
        (_ARGUMENTS, ARGUMENTS),
        (_SECOND, f"{SECOND} The other session is closed without a word at its next RETR."),
        (_PASS, PASS_LATER),
    ),
    "cyrus-pop3d": (
        (
            "rfc5034-4-pipelined-auth",
            "What comes in one packet with AUTH is lost, and the client waits for ever. PIPELINING is announced: each"
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
    "WildDuck, fengtang (npm)": "each needs a store that is written for it",
    "qpopper, ipopd, Citadel, xmail, teapop, dbmail, GreenMail, Mailpit, Inbucket, James": (
        "Debian 12, PyPI and npm do not have them"
    ),
}
