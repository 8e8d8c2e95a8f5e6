"""Scripts of the ledger in Redis: each is one step and one round trip, however many keys it uses.

A list holds hits, ``milliseconds|tag``, the latest first. A sorted set holds sessions by the end of their lease. A hash
holds the tries of a user by session. An uncounted try came to nothing. Every key expires by itself. ARGV[1] is the
time in milliseconds. If it is empty, the time is that of the Redis server, which is the same for all that share it.
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
local function parse(text)
    local state, address, rank, place, since, ends = string.match(text, '^(%a+)|([^|]*)|(%d+)|(%d+)|(%d+)|(%d+)$')
    return {
        waits = state == 'waits', address = address, rank = tonumber(rank), place = tonumber(place),
        since = tonumber(since), ends = tonumber(ends)
    }
end
local function lease(key, session, milliseconds)
    redis.call('ZADD', key, string.format('%.0f', now + milliseconds), session)
    redis.call('PEXPIRE', key, milliseconds)
end
"""

STANDING = (
    _COMMON
    + """
-- KEYS ban, tries, failures, of the user: failures, familiar addresses, tries in line and under way, when the last had
--   its turn; uncounted tries of the address
-- ARGV now, window, tries allowed in a minute (0: this is none), address, session (empty: it takes no turn), patience,
--   for how long addresses are familiar, tries under way, places of those that wait kept, uncounted tries kept;
--   milliseconds until a try asks again if the one before it is about to go on; milliseconds that the login has
--   waited; how many delays of addresses there are, these, the delays of users
-- returns banned, too often, failures, failures of the user, milliseconds until its turn and until it asks again,
--   whether too many wait, whether the address has another try
local window, most, too_often, address, session = tonumber(ARGV[2]), tonumber(ARGV[3]), 0, ARGV[4], ARGV[5]
local tick, waited, address_delays, longest = tonumber(ARGV[11]), tonumber(ARGV[12]), tonumber(ARGV[13]), 0
local function delay(first, steps, failures)
    local step = math.min(failures, steps)
    return step > 0 and tonumber(ARGV[first + step]) or 0
end
local function user_delay(failures) return delay(13 + address_delays, #ARGV - 13 - address_delays, failures) end
for i = 14 + address_delays, #ARGV do longest = math.max(longest, tonumber(ARGV[i])) end
if most > 0 then
    if reached(KEYS[2], 60000, most) then too_often = 1 else hit(KEYS[2], '', 60000, most) end
end
local banned, failures = holds(KEYS[1]), count(KEYS[3], window)
if has(KEYS[5], address, tonumber(ARGV[7])) then
    redis.call('HDEL', KEYS[6], session)
    local own = count(KEYS[4], window, address)
    local turn = math.max(user_delay(own) - waited, 0)
    return {banned, too_often, failures, own, turn, turn, 0, 0}
end
local user_failures = count(KEYS[4], window)
local standing = {banned, too_often, failures, user_failures, 0, 0, 0, 0}
if session == '' or longest == 0 or banned == 1 or too_often == 1 then return standing end
if delay(13, address_delays, failures) > waited then return standing end

local rank = failures + count(KEYS[8], tonumber(ARGV[10]))
local mine, others, checked, place = nil, {}, 0, 0
local all = redis.call('HGETALL', KEYS[6])
for i = 1, #all, 2 do
    local one = parse(all[i + 1])
    place = math.max(place, one.place + 1)
    if one.ends <= now then
        redis.call('HDEL', KEYS[6], all[i])
    else
        if not one.waits then checked = checked + 1 end
        if all[i] == session then mine = one else others[#others + 1] = one end
    end
end
if mine and not mine.waits then return standing end
local is_new = not mine
if is_new then mine = {address = address, since = now, place = place} end
local ahead, busy = 0, false
for _, one in ipairs(others) do
    if one.waits and (one.rank < rank or one.rank == rank and one.place < mine.place) then ahead = ahead + 1 end
    if is_new and one.address == address then busy = true end
end
local function keep(state, milliseconds)
    local ends = now + milliseconds
    local text = string.format('%s|%s|%.0f|%.0f|%.0f|%.0f', state, address, rank, mine.place, mine.since, ends)
    redis.call('HSET', KEYS[6], session, text)
    redis.call('PEXPIRE', KEYS[6], math.max(milliseconds, tonumber(ARGV[8])))
end
local before, last_turn, slot = user_failures + checked, redis.call('GET', KEYS[7]), now
if last_turn then slot = math.max(tonumber(last_turn) + user_delay(before), now) end
if ahead == 0 and slot <= now then
    keep('checked', tonumber(ARGV[8]))
    redis.call('SET', KEYS[7], string.format('%.0f', now), 'PX', longest)
    return standing
end
local last, turn = now, slot
for step = 1, ahead do last, turn = turn, turn + user_delay(before + step) end
if busy or ahead > 0 and last - mine.since > tonumber(ARGV[6]) then
    redis.call('HDEL', KEYS[6], session)
    return {banned, too_often, failures, user_failures, 0, 0, busy and 0 or 1, busy and 1 or 0}
end
local pause = slot - now
if ahead > 0 then pause = math.max(pause, tick) end
keep('waits', pause + tonumber(ARGV[9]))
return {banned, too_often, failures, user_failures, math.max(turn - now, pause), pause, 0, 0}
"""
)

SETTLED = (
    _COMMON
    + """
-- KEYS tries of the user in line and under way, uncounted tries of the address
-- ARGV now, user, session, uncounted tries kept, for how long
if redis.call('HDEL', KEYS[1], ARGV[3]) == 1 then hit(KEYS[2], ARGV[2], ARGV[5], ARGV[4]) end
"""
)

FAILED = (
    _COMMON
    + """
-- KEYS ban, seen, failures, failures of the user, tries of the user under way, uncounted tries of the address
-- ARGV now, window, address, user, fingerprint, failures kept, failures of a user kept, ban after (0: never), ban for,
--   session, uncounted tries kept, for how long
-- returns counted, banned, failures of the user before
local window, address, user = tonumber(ARGV[2]), ARGV[3], ARGV[4]
local before = count(KEYS[4], window)
redis.call('HDEL', KEYS[5], ARGV[10])
if ARGV[5] ~= '' then
    local known = holds(KEYS[2])
    hold(KEYS[2], window)
    if known == 1 then
        hit(KEYS[6], user, ARGV[12], ARGV[11])
        return {0, 0, before}
    end
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
-- KEYS sessions, logins, failures, of the user: failures, tries under way, familiar addresses;
--   uncounted tries of the address
-- ARGV now, window, address, user, session, lease, sessions allowed (0: any), logins allowed in a minute (0: any),
--   for how long an address is familiar, how many are
-- returns 0 for entered, 1 for too many sessions, 2 for too many logins; failures of the user before
local most, rate = tonumber(ARGV[7]), tonumber(ARGV[8])
local before = count(KEYS[4], tonumber(ARGV[2]))
forget(KEYS[3], ARGV[4])
forget(KEYS[4], ARGV[3])
forget(KEYS[7], ARGV[4])
redis.call('HDEL', KEYS[5], ARGV[5])
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
