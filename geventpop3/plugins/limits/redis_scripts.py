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
local function count(key, window, tag)
    local hits = 0
    for _, one in ipairs(redis.call('LRANGE', key, 0, -1)) do
        local at, other = string.match(one, '^(%d+)|(.*)$')
        if now - tonumber(at) >= window then break end
        if not tag or tag == other then hits = hits + 1 end
    end
    return hits
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
local function has(key, tag, window)
    for _, one in ipairs(redis.call('LRANGE', key, 0, -1)) do
        local at, other = string.match(one, '^(%d+)|(.*)$')
        if other == tag and now - tonumber(at) < window then return true end
    end
    return false
end
local function lease(key, session, milliseconds)
    redis.call('ZADD', key, string.format('%.0f', now + milliseconds), session)
    redis.call('PEXPIRE', key, milliseconds)
end
"""

STANDING = (
    _COMMON
    + """
-- KEYS ban, tries, failures, and of the user: failures, familiar addresses, tries under way, the turn taken last
-- ARGV now, window, tries allowed in a minute (0: this is none), address, session (empty: it takes no turn),
--   failures of a user kept, patience, for how long addresses are familiar and tries under way, delays of the user
-- returns banned, too often, failures, failures of the user, milliseconds until its turn, whether too many wait
local window, most, too_often, address, session = tonumber(ARGV[2]), tonumber(ARGV[3]), 0, ARGV[4], ARGV[5]
local function user_delay(failures)
    local step = math.min(failures, #ARGV - 9)
    return step > 0 and tonumber(ARGV[9 + step]) or 0
end
if most > 0 then
    if reached(KEYS[2], 60000, most) then too_often = 1 else hit(KEYS[2], '', 60000, most) end
end
local banned, failures = holds(KEYS[1]), count(KEYS[3], window)
if has(KEYS[5], address, tonumber(ARGV[8])) then
    local own = count(KEYS[4], window, address)
    return {banned, too_often, failures, own, user_delay(own), 0}
end
local user_failures = count(KEYS[4], window)
if session == '' or banned == 1 or too_often == 1 then return {banned, too_often, failures, user_failures, 0, 0} end
forget(KEYS[6], session)
local before = user_failures + count(KEYS[6], tonumber(ARGV[9]))
local queue = math.max(tonumber(redis.call('GET', KEYS[7]) or '0') - now, 0)
if queue > tonumber(ARGV[7]) then return {banned, too_often, failures, user_failures, 0, 1} end
local turn = queue + user_delay(before)
if turn > 0 then hold(KEYS[7], turn) end
if tonumber(ARGV[6]) > 0 then hit(KEYS[6], session, ARGV[9], ARGV[6]) end
return {banned, too_often, failures, user_failures, turn, 0}
"""
)

SETTLED = (
    _COMMON
    + """
-- KEYS tries of the user under way; ARGV now, session
forget(KEYS[1], ARGV[2])
"""
)

FAILED = (
    _COMMON
    + """
-- KEYS ban, seen, failures, failures of the user, tries of the user under way
-- ARGV now, window, address, user, fingerprint, failures kept, failures of a user kept, ban after (0: never), ban for,
--   session
-- returns counted, banned, failures of the user before
local window, address, user = tonumber(ARGV[2]), ARGV[3], ARGV[4]
local before = count(KEYS[4], window)
forget(KEYS[5], ARGV[10])
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
-- KEYS sessions, logins, failures, and of the user: failures, tries under way, familiar addresses
-- ARGV now, window, address, user, session, lease, sessions allowed (0: any), logins allowed in a minute (0: any),
--   for how long an address is familiar, how many are
-- returns 0 for entered, 1 for too many sessions, 2 for too many logins; failures of the user before
local most, rate = tonumber(ARGV[7]), tonumber(ARGV[8])
local before = count(KEYS[4], tonumber(ARGV[2]))
forget(KEYS[3], ARGV[4])
forget(KEYS[4], ARGV[3])
forget(KEYS[5], ARGV[5])
if ARGV[4] ~= '' then
    forget(KEYS[6], ARGV[3])
    hit(KEYS[6], ARGV[3], ARGV[9], ARGV[10])
end
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
