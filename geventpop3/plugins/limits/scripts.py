"""What the shared ledger does in Redis: scripts, so that each is one step and one round trip, however many take part.

A list holds hits, ``milliseconds|tag``, the latest first; a sorted set holds sessions by the end of their lease. Every
key expires by itself. ARGV[1] is the time in milliseconds, or empty: then it is the time of the Redis server, which all
who share it agree on.
"""

_COMMON = """
local now = tonumber(ARGV[1])
if not now then
    local time = redis.call('TIME')
    now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local function hit(key, tag, window, most)
    redis.call('LPUSH', key, string.format('%.0f|%s', now, tag))
    redis.call('LTRIM', key, 0, most - 1)
    redis.call('PEXPIRE', key, window)
end
local function count(key, window)
    local hits = redis.call('LRANGE', key, 0, -1)
    for i, one in ipairs(hits) do
        if now - tonumber(string.match(one, '^%d+')) >= window then return i - 1 end
    end
    return #hits
end
local function reached(key, window, most)
    local oldest = redis.call('LINDEX', key, most - 1)
    return oldest and now - tonumber(string.match(oldest, '^%d+')) < window
end
local function hold(key, milliseconds)
    redis.call('SET', key, string.format('%.0f', now + milliseconds), 'PX', milliseconds)
end
local function holds(key)
    local ends = redis.call('GET', key)
    return ends and tonumber(ends) > now and 1 or 0
end
local function forget(key, tag)
    for _, one in ipairs(redis.call('LRANGE', key, 0, -1)) do
        if string.match(one, '|(.*)$') == tag then redis.call('LREM', key, 0, one) end
    end
end
local function lease(key, session, milliseconds)
    redis.call('ZADD', key, string.format('%.0f', now + milliseconds), session)
    redis.call('PEXPIRE', key, milliseconds)
end
"""

STANDING = (
    _COMMON
    + """
-- KEYS ban, tries, failures, failures of the user; ARGV now, window, tries allowed in a minute (0: this is none)
-- returns banned, too often, failures, failures of the user
local window, most, too_often = tonumber(ARGV[2]), tonumber(ARGV[3]), 0
if most > 0 then
    if reached(KEYS[2], 60000, most) then too_often = 1 else hit(KEYS[2], '', 60000, most) end
end
return {holds(KEYS[1]), too_often, count(KEYS[3], window), count(KEYS[4], window)}
"""
)

FAILED = (
    _COMMON
    + """
-- KEYS ban, seen, failures, failures of the user
-- ARGV now, window, address, user, fingerprint, failures kept, failures of a user kept, ban after (0: never), ban for
-- returns counted, banned, failures of the user before
local window, address, user = tonumber(ARGV[2]), ARGV[3], ARGV[4]
local before = count(KEYS[4], window)
if ARGV[5] ~= '' then
    local known = holds(KEYS[2])
    hold(KEYS[2], window)
    if known == 1 then return {0, 0, before} end
end
if user ~= '' and tonumber(ARGV[7]) > 0 then hit(KEYS[4], address, window, ARGV[7]) end
if tonumber(ARGV[6]) > 0 then hit(KEYS[3], user, window, ARGV[6]) end
local most = tonumber(ARGV[8])
if most == 0 or count(KEYS[3], window) < most then return {1, 0, before} end
hold(KEYS[1], ARGV[9])
redis.call('DEL', KEYS[3])
return {1, 1, before}
"""
)

ENTERED = (
    _COMMON
    + """
-- KEYS sessions, logins, failures, failures of the user
-- ARGV now, window, address, user, session, lease, sessions allowed (0: any), logins allowed in a minute (0: any)
-- returns 0 for entered, 1 for too many sessions, 2 for too many logins; failures of the user before
local most, rate = tonumber(ARGV[7]), tonumber(ARGV[8])
local before = count(KEYS[4], tonumber(ARGV[2]))
forget(KEYS[3], ARGV[4])
forget(KEYS[4], ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if most > 0 and redis.call('ZCARD', KEYS[1]) >= most then return {1, before} end
if rate > 0 then
    if reached(KEYS[2], 60000, rate) then return {2, before} end
    hit(KEYS[2], '', 60000, rate)
end
if most > 0 then
    lease(KEYS[1], ARGV[5], ARGV[6])
end
return {0, before}
"""
)

RENEW = (
    _COMMON
    + """
-- KEYS sessions of a user, one for each session; ARGV now, lease, the sessions
for i, key in ipairs(KEYS) do
    lease(key, ARGV[i + 2], ARGV[2])
end
"""
)

RELEASE = (
    _COMMON
    + """
-- KEYS ban, failures; returns whether there was a ban
local banned = holds(KEYS[1])
redis.call('DEL', KEYS[1], KEYS[2])
return banned
"""
)
