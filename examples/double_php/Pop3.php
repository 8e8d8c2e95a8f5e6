<?php
// A small POP3 client for the example: enough to be tested. It deletes a message only after it has read it whole.
declare(strict_types=1);

final class Pop3Error extends RuntimeException
{
}

final class Pop3
{
    /** @var resource */
    private $stream;

    public function __construct(string $host, int $port, private float $timeout = 5.0)
    {
        $stream = @stream_socket_client("tcp://$host:$port", $code, $error, $timeout);
        if ($stream === false) {
            throw new Pop3Error("cannot connect: $error");
        }
        stream_set_timeout($stream, (int) $timeout, (int) (fmod($timeout, 1) * 1_000_000));
        $this->stream = $stream;
        $this->reply();
    }

    /** @return list<string> the messages, which are removed from the maildrop */
    public static function poll(string $host, int $port, string $user, string $password, float $timeout = 5.0): array
    {
        $client = new self($host, $port, $timeout);
        try {
            $client->command("USER $user");
            $client->command("PASS $password");
            $client->command('LIST');
            $messages = [];
            foreach ($client->body() as $line) {
                [$number] = explode(' ', $line);
                $client->command("RETR $number");
                $messages[] = implode('', array_map(fn ($line) => "$line\r\n", $client->body()));
                $client->command("DELE $number");
            }
            $client->command('QUIT');
            return $messages;
        } finally {
            fclose($client->stream);
        }
    }

    private function command(string $text): string
    {
        @fwrite($this->stream, "$text\r\n");
        return $this->reply();
    }

    private function reply(): string
    {
        $line = $this->line();
        if (!str_starts_with($line, '+OK')) {
            throw new Pop3Error($line);
        }
        return $line;
    }

    /** @return list<string> */
    private function body(): array
    {
        $lines = [];
        while (($line = $this->line()) !== '.') {
            $lines[] = str_starts_with($line, '.') ? substr($line, 1) : $line;
        }
        return $lines;
    }

    private function line(): string
    {
        $line = @fgets($this->stream);
        if (stream_get_meta_data($this->stream)['timed_out']) {
            throw new Pop3Error('the server is silent');
        }
        if ($line === false || !str_ends_with($line, "\r\n")) {
            throw new Pop3Error('the server closed the connection');
        }
        return substr($line, 0, -2);
    }
}
