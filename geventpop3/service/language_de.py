"""German translations of the reply texts, by English text; ``{}`` stands for one word that is in both. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_BAD_COMMANDS: Final[Mapping[str, str]] = {
    "no command": "kein Befehl",
    "unknown command": "unbekannter Befehl",
    "a command holds no NUL and no bare CR": "ein Befehl enthält weder NUL noch ein CR ohne LF",
    "line too long": "die Zeile ist zu lang",
    "no argument is allowed": "hier ist kein Argument erlaubt",
    "not allowed in the {} state": "im Zustand {} nicht erlaubt",
}

TEXTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        **_BAD_COMMANDS,
        **{
            f"{english}, too many bad commands": f"{german}, zu viele fehlerhafte Befehle"
            for english, german in _BAD_COMMANDS.items()
        },
        # Arguments
        "only one argument is allowed": "nur ein Argument ist erlaubt",
        "at most {} arguments are allowed": "höchstens {} Argumente sind erlaubt",
        "an argument is missing": "ein Argument fehlt",
        "{} arguments are needed": "{} Argumente sind nötig",
        "a message-number is not negative": "eine Nachrichtennummer ist nicht negativ",
        "a message-number is made of decimal digits": "eine Nachrichtennummer besteht aus Dezimalziffern",
        "message-numbers begin at 1": "Nachrichtennummern beginnen bei 1",
        "a message-number has no leading zero": "eine Nachrichtennummer hat keine führende Null",
        "a message-number has at most ten digits": "eine Nachrichtennummer hat höchstens zehn Ziffern",
        "a number of lines is not negative": "eine Zeilenzahl ist nicht negativ",
        "a number of lines is made of decimal digits": "eine Zeilenzahl besteht aus Dezimalziffern",
        "a number of lines has at most ten digits": "eine Zeilenzahl hat höchstens zehn Ziffern",
        # The server
        "not supported here": "hier nicht unterstützt",
        "refused": "abgelehnt",
        "internal error, reference {}": "interner Fehler, Kennzeichen {}",
        "the server is shutting down, try again later": "der Server wird beendet, bitte später erneut versuchen",
        "the server is busy, try again later": "der Server ist ausgelastet, bitte später erneut versuchen",
        "too many connections, try again later": "zu viele Verbindungen, bitte später erneut versuchen",
        "too many connections from your address": "zu viele Verbindungen von Ihrer Adresse",
        "begin TLS": "TLS beginnt",
        "TLS is active already": "TLS ist bereits aktiv",
        "TLS is not available here": "TLS steht hier nicht zur Verfügung",
        "STLS must come before UTF8": "STLS muss vor UTF8 kommen",
        # Logging in
        "send PASS": "weiter mit PASS",
        "say USER first": "zuerst USER",
        "PASS needs a password": "PASS braucht ein Passwort",
        "password logins are not available, use AUTH": (
            "Anmeldungen mit Passwort sind nicht verfügbar, bitte AUTH verwenden"
        ),
        "APOP is not available here: the greeting had no timestamp": (
            "APOP steht hier nicht zur Verfügung: die Begrüßung enthielt keinen Zeitstempel"
        ),
        "a clear-text login is not allowed on this connection": (
            "eine Anmeldung im Klartext ist über diese Verbindung nicht erlaubt"
        ),
        "authentication failed": "Anmeldung fehlgeschlagen",
        "authentication cancelled": "Anmeldung abgebrochen",
        "logins cannot be checked now, try again later": (
            "Anmeldungen können jetzt nicht geprüft werden, bitte später erneut versuchen"
        ),
        "log in first": "bitte zuerst anmelden",
        "too soon after the last login, wait {} s": "zu kurz nach der letzten Anmeldung, bitte {} s warten",
        "too many failed logins from your address, try again later": (
            "zu viele fehlgeschlagene Anmeldungen von Ihrer Adresse, bitte später erneut versuchen"
        ),
        "too many logins from your address, try again in a minute": (
            "zu viele Anmeldungen von Ihrer Adresse, bitte in einer Minute erneut versuchen"
        ),
        "too many logins from your address at once, try again later": (
            "zu viele gleichzeitige Anmeldungen von Ihrer Adresse, bitte später erneut versuchen"
        ),
        "too many logins with this name at once, try again later": (
            "zu viele gleichzeitige Anmeldungen mit diesem Namen, bitte später erneut versuchen"
        ),
        "logged in too often, try again in a minute": "zu oft angemeldet, bitte in einer Minute erneut versuchen",
        "too many sessions are open": "zu viele Sitzungen sind offen",
        "the name is empty": "der Name ist leer",
        "the name is longer than {} octets": "der Name ist länger als {} Oktette",
        "the name is not UTF-8": "der Name ist nicht in UTF-8",
        "the name holds NUL, CR or LF": "der Name enthält NUL, CR oder LF",
        "the name holds what SASLprep forbids": "der Name enthält, was SASLprep verbietet",
        "the password is empty": "das Passwort ist leer",
        "the password is longer than {} octets": "das Passwort ist länger als {} Oktette",
        "the password is not UTF-8": "das Passwort ist nicht in UTF-8",
        "the password holds NUL, CR or LF": "das Passwort enthält NUL, CR oder LF",
        "the password holds what SASLprep forbids": "das Passwort enthält, was SASLprep verbietet",
        # AUTH
        "mechanisms follow": "die Mechanismen folgen",
        "no such authentication mechanism": "diesen Mechanismus gibt es hier nicht",
        "this mechanism takes no initial response": "dieser Mechanismus kennt keine Antwort im Befehl",
        "the initial response is not valid base64": "die Antwort im Befehl ist kein gültiges Base64",
        "the response is not valid base64": "die Antwort ist kein gültiges Base64",
        "there is no client certificate": "es gibt kein Client-Zertifikat",
        "malformed message of CRAM-MD5, which is a name, a space and a digest": (
            "fehlerhafte Nachricht von CRAM-MD5: sie besteht aus Name, Leerzeichen und Prüfsumme"
        ),
        "malformed message of OAUTHBEARER": "fehlerhafte Nachricht von OAUTHBEARER",
        "malformed message of OAUTHBEARER, more than one token": (
            "fehlerhafte Nachricht von OAUTHBEARER: mehr als ein Token"
        ),
        "malformed message of PLAIN, which has three fields": "fehlerhafte Nachricht von PLAIN: sie hat drei Felder",
        "malformed message of SCRAM": "fehlerhafte Nachricht von SCRAM",
        "malformed message of XOAUTH2": "fehlerhafte Nachricht von XOAUTH2",
        "malformed name: an equals sign that begins no escape": (
            "fehlerhafter Name: ein Gleichheitszeichen, das nichts umschreibt"
        ),
        # The maildrop
        "{} message ({} octets)": "{} Nachricht ({} Oktette)",
        "{} messages ({} octets)": "{} Nachrichten ({} Oktette)",
        "{} message": "{} Nachricht",
        "{} messages": "{} Nachrichten",
        "{} octets": "{} Oktette",
        "message follows": "die Nachricht folgt",
        "top of message follows": "der Anfang der Nachricht folgt",
        "this service has no messages": "dieser Dienst hat keine Nachrichten",
        "messages cannot be deleted here": "hier können keine Nachrichten gelöscht werden",
        "message {} marked as deleted": "Nachricht {} ist zum Löschen markiert",
        "message {} is marked as deleted": "Nachricht {} ist bereits zum Löschen markiert",
        "no such message": "diese Nachricht gibt es nicht",
        "no such message, only {} message in the maildrop": (
            "diese Nachricht gibt es nicht, nur {} Nachricht ist im Postfach"
        ),
        "no such message, only {} messages in the maildrop": (
            "diese Nachricht gibt es nicht, nur {} Nachrichten sind im Postfach"
        ),
        "the message is available only in UTF-8 mode": "diese Nachricht gibt es nur im UTF-8-Modus",
        "goodbye": "auf Wiedersehen",
        "goodbye, {} message removed": "auf Wiedersehen, {} Nachricht gelöscht",
        "goodbye, {} messages removed": "auf Wiedersehen, {} Nachrichten gelöscht",
        "the maildrop is in use by another session": "das Postfach wird von einer anderen Sitzung benutzt",
        "the maildrop is not available now, try again later": (
            "das Postfach ist jetzt nicht verfügbar, bitte später erneut versuchen"
        ),
        "the maildrop is damaged, ask your postmaster": (
            "das Postfach ist beschädigt, bitte wenden Sie sich an Ihren Postmaster"
        ),
        "no maildrop can have this name": "kein Postfach kann diesen Namen haben",
        "another session is changing the maildrop, try again later": (
            "eine andere Sitzung ändert das Postfach, bitte später erneut versuchen"
        ),
        "the message cannot be read now": "die Nachricht kann jetzt nicht gelesen werden",
        "the message changed while it was read": "die Nachricht hat sich beim Lesen geändert",
        "the message has changed, log in again": "die Nachricht hat sich geändert, bitte neu anmelden",
        "the size of the message was not known, log in again": (
            "die Größe der Nachricht war nicht bekannt, bitte neu anmelden"
        ),
        "the message is gone": "die Nachricht ist nicht mehr da",
        "no message was removed, try again later": "keine Nachricht wurde gelöscht, bitte später erneut versuchen",
        "the removal was begun but not completed, a later login may complete it": (
            "das Löschen wurde begonnen, aber nicht beendet, eine spätere Anmeldung beendet es vielleicht"
        ),
        "it is not certain that all deleted messages were removed, log in again to see": (
            "vielleicht wurden nicht alle markierten Nachrichten gelöscht, bitte zum Nachsehen neu anmelden"
        ),
        "an earlier removal must be completed first, try again later": (
            "zuerst muss ein früheres Löschen beendet werden, bitte später erneut versuchen"
        ),
        "some deleted messages not removed: {} message left": (
            "nicht alle markierten Nachrichten wurden gelöscht: {} Nachricht ist noch da"
        ),
        "some deleted messages not removed: {} messages left": (
            "nicht alle markierten Nachrichten wurden gelöscht: {} Nachrichten sind noch da"
        ),
        # CAPA, LANG, UTF8
        "capabilities follow": "die Fähigkeiten folgen",
        "languages follow": "die Sprachen folgen",
        "{} language changed": "{} Sprache gewechselt",
        "unknown language, LANG lists the available ones": "unbekannte Sprache, LANG nennt die verfügbaren",
        "UTF-8 mode is on": "der UTF-8-Modus ist an",
    }
)
