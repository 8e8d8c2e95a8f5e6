<?php
// Tests of a POP3 client in PHP against the double of geventpop3. To run them: php examples/double_php/poller_test.php
// With PHPUnit, the double is started in setUpBeforeClass(), and check() is called in tearDown().
declare(strict_types=1);

require __DIR__ . '/Pop3.php';
require __DIR__ . '/PopDouble.php';

const MESSAGE = "Subject: one\r\n\r\n.a line with a dot\r\nGr\xc3\xbc\xc3\x9fe\r\n";

function same(mixed $expected, mixed $actual): void
{
    if ($expected !== $actual) {
        throw new RuntimeException('expected ' . var_export($expected, true) . ', not ' . var_export($actual, true));
    }
}

function fails(callable $function, string $text): void
{
    try {
        $function();
    } catch (RuntimeException $error) {
        if (str_contains($error->getMessage(), $text)) {
            return;
        }
        throw $error;
    }
    throw new RuntimeException("it did not fail with: $text");
}

$double = new PopDouble();
$poll = fn (float $timeout = 5.0) => Pop3::poll($double->ready['host'], $double->ready['port'], 'alice', 'secret', $timeout);

$tests = [
    'fetches a message and removes it' => function () use ($double, $poll): void {
        $uniqueIds = $double->deliver('alice', MESSAGE);
        same([MESSAGE], $poll());
        $double->wait(['maildrop' => 'alice', 'sessions' => 1, 'messages' => 0]);
        [$session] = $double->sessions();
        same($uniqueIds, $session['removed']);
        same(['USER', 'PASS', 'LIST', 'RETR', 'DELE', 'QUIT'], array_column($session['commands'], 'verb'));
    },
    'loses nothing when the line drops in the middle of a message' => function () use ($double, $poll): void {
        $double->deliver('alice', MESSAGE);
        $double->fail(['maildrop' => 'alice', 'on' => 'RETR', 'how' => 'close', 'after_octets' => 30]);
        fails($poll, 'the server closed the connection');
        $double->wait(['sessions' => 1]);
        same([], $double->sessions()[0]['removed']);
        same([MESSAGE], $poll());
    },
    'reports an error of the server' => function () use ($double, $poll): void {
        $double->fail(['on' => 'auth', 'code' => 'SYS/TEMP', 'text' => 'come back later']);
        fails($poll, '-ERR [SYS/TEMP] come back later');
    },
    'does not hang when the server is silent' => function () use ($double, $poll): void {
        $double->fail(['on' => 'LIST', 'how' => 'stall']);
        fails(fn () => $poll(0.2), 'the server is silent');
    },
    'a mistake in a test is explained' => function () use ($double): void {
        fails(fn () => $double->fail(['on' => 'RETRR']), "did you mean 'RETR'?");
        fails(fn () => $double->wait(['sessions' => 1, 'timeout' => 0]), 'waited 0 s in vain for: 1 sessions ended, not 0');
    },
];

$failed = 0;
foreach ($tests as $name => $test) {
    $double->maildrop('alice');
    try {
        $test();
        $double->check();
        echo "ok - $name\n";
    } catch (Throwable $error) {
        $failed++;
        echo "not ok - $name\n{$error->getMessage()}\n";
        $double->call('POST', '/reset');
    }
}
same(0, $double->stop());
exit($failed === 0 ? 0 : 1);
