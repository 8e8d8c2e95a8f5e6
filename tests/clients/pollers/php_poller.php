<?php
// A minimal poller on PHP's imap extension: fetch each message, store it, then delete it; close.
//     php php_poller.php HOST PORT TLS CA USER PASSWORD FOLDER SEEN SECONDS
// The extension gives no access to unique-ids of POP3, so the poller cannot know what an earlier run stored.
[, $host, $port, $tls, $ca, $user, $password, $folder, , $seconds] = $argv;

function failed(array $errors): never
{
    fwrite(STDERR, implode("; ", $errors ?: ["the library names no error"]) . "\n");
    exit(1);
}

function store(string $folder, string $content): void
{
    $number = count(array_diff(scandir($folder), [".", ".."]));
    $partial = dirname($folder) . "/partial";
    file_put_contents($partial, $content);
    rename($partial, "$folder/$number");
}

foreach ([IMAP_OPENTIMEOUT, IMAP_READTIMEOUT, IMAP_WRITETIMEOUT, IMAP_CLOSETIMEOUT] as $timeout) {
    imap_timeout($timeout, (int) $seconds);
}
$way = $tls === "yes" ? "/ssl" : "/notls";
$box = @imap_open("{" . "$host:$port/pop3$way}INBOX", $user, $password, 0, 1);
if ($box === false) {
    failed(imap_errors() ?: []);
}
$count = imap_num_msg($box);
for ($number = 1; $number <= $count; $number++) {
    $header = imap_fetchheader($box, $number);
    $body = imap_body($box, $number);
    if ($header === false || $body === false) {
        failed(imap_errors() ?: []);
    }
    store($folder, $header . $body);
    imap_delete($box, (string) $number);
}
$closed = imap_close($box, CL_EXPUNGE);
$errors = array_diff(imap_errors() ?: [], ["Mailbox is empty"]);
if (!$closed || $errors) {
    failed($errors);
}
