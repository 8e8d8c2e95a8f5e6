<?php
// The test double, started as a program and driven over HTTP. Only what PHP brings along.
declare(strict_types=1);

final class PopDouble
{
    /** @var resource */
    private $process;
    /** @var array<int, resource> */
    private array $pipes;
    /** @var array<string, mixed> what the double printed: host, port, tls_port, control, token, ca, pid, version */
    public readonly array $ready;

    public function __construct()
    {
        $command = explode(' ', getenv('GEVENTPOP3') ?: 'geventpop3');
        // Its standard input is a pipe: the system closes it when this process ends, however it ends.
        $process = proc_open(
            [...$command, 'double', '--until-stdin-closes'],
            [['pipe', 'r'], ['pipe', 'w'], STDERR],
            $pipes,
        );
        $line = $process === false ? false : fgets($pipes[1]);
        if ($line === false) {
            throw new RuntimeException('geventpop3 double did not start');
        }
        [$this->process, $this->pipes] = [$process, $pipes];
        $this->ready = json_decode($line, true, flags: JSON_THROW_ON_ERROR);
    }

    public function call(string $method, string $path, mixed $body = null, string $type = 'application/json'): mixed
    {
        $content = match (true) {
            $body === null => '',
            is_string($body) => $body,
            default => json_encode($body, JSON_THROW_ON_ERROR),
        };
        $context = stream_context_create(['http' => [
            'method' => $method,
            'header' => ["Authorization: Bearer {$this->ready['token']}", "Content-Type: $type"],
            'content' => $content,
            'ignore_errors' => true, // so that the text of an error can be read
            'timeout' => 90,
        ]]);
        $stream = fopen($this->ready['control'] . $path, 'r', false, $context);
        if ($stream === false) {
            throw new RuntimeException("$method $path: no answer");
        }
        $text = stream_get_contents($stream);
        $headers = stream_get_meta_data($stream)['wrapper_data'];
        fclose($stream);
        $status = (int) explode(' ', $headers[0])[1];
        $isJson = in_array('Content-Type: application/json', $headers, true);
        $answer = $isJson ? json_decode($text, true, flags: JSON_THROW_ON_ERROR) : $text;
        if ($status >= 300) {
            throw new RuntimeException("$method $path: {$answer['error']} ({$answer['hint']})");
        }
        return $answer;
    }

    /** @return array<string, mixed> */
    public function maildrop(string $name, string $password = 'secret'): array
    {
        return $this->call('POST', '/maildrops', ['name' => $name, 'password' => $password]);
    }

    /** @return list<string> the unique-ids */
    public function deliver(string $name, string $message): array
    {
        $path = '/maildrops/' . rawurlencode($name) . '/messages';
        return $this->call('POST', $path, $message, 'message/rfc822')['unique_ids'];
    }

    /** @param array<string, mixed> $fault */
    public function fail(array $fault): void
    {
        $this->call('POST', '/faults', $fault);
    }

    /** @param array<string, mixed> $what */
    public function wait(array $what): void
    {
        $this->call('POST', '/wait', $what);
    }

    /** @return list<array<string, mixed>> */
    public function sessions(): array
    {
        return $this->call('GET', '/sessions')['sessions'];
    }

    /** Fails on faults that never happened, and forgets the test. */
    public function check(): void
    {
        $report = $this->call('POST', '/reset');
        if (!$report['ok']) {
            throw new RuntimeException(implode("\n", [...$report['failures'], $report['transcript']]));
        }
    }

    public function stop(): int
    {
        foreach ($this->pipes as $pipe) {
            fclose($pipe);
        }
        return proc_close($this->process);
    }
}
