"""Lua scripts that the server runs in one step, by its clock.

All read and write one key, but SWAP_MANY, REVOKE, and SWAP where it notes the change in streams.
"""

from typing import Final

SWAP: Final = """
if ARGV[6] ~= '' then
    local time = redis.call('TIME')
    if tonumber(time[1]) + tonumber(time[2]) / 1000000 > tonumber(ARGV[6]) then return 0 end
end
local current = redis.call('GET', KEYS[1])
if (current or '') ~= ARGV[1] then return 0 end
for i = 2, #KEYS do redis.call('XLEN', KEYS[i]) end -- fails for another type before anything is changed
if ARGV[5] ~= '' then redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[5]) else redis.call('SET', KEYS[1], ARGV[2]) end
if ARGV[3] ~= '' then redis.call('PUBLISH', ARGV[3], ARGV[4]) end
for i = 2, #KEYS do redis.call('XADD', KEYS[i], 'MAXLEN', '~', ARGV[7], '*', 'event', ARGV[8]) end
return 1
"""
# A confirmation covers what its own connection wrote, and all before that. So a value is written again, for its life.
CONFIRM: Final = """
local value = redis.call('GET', KEYS[1])
if value then redis.call('SET', KEYS[1], value, 'KEEPTTL') end
return value and 1 or 0
"""
# Each key by itself: one that does not match, or holds no text, keeps none of the others from its change. The last
# argument is the number of streams, the last keys, in which changes are noted. Then each change has its note: "" for
# none, or the text after a mark: "!" for all streams, "-" for the last one.
SWAP_MANY: Final = """
local made, streams = {}, tonumber(ARGV[#ARGV])
local count = #KEYS - streams
for at = count + 1, #KEYS do redis.call('XLEN', KEYS[at]) end -- as in SWAP
for i = 1, count do
    local key, new = KEYS[i], ARGV[2 * i]
    local current = redis.pcall('GET', key)
    made[i] = 0
    if type(current) ~= 'table' and (current or '') == ARGV[2 * i - 1] then
        if new ~= '' then redis.call('SET', key, new) else redis.call('DEL', key) end
        made[i] = 1
        local note = streams > 0 and ARGV[2 * count + i] or ''
        for at = count + 1, note ~= '' and #KEYS or 0 do
            if at == #KEYS or string.sub(note, 1, 1) == '!' then
                redis.call('XADD', KEYS[at], 'MAXLEN', '~', ARGV[#ARGV - 1], '*', 'event', string.sub(note, 2))
            end
        end
    end
end
return made
"""
# The generic cell rate algorithm: one number, the time at which the bucket would be full again, by the server's clock.
# Gives between the least and the most requested; or nothing, and the seconds until the least is available.
TAKE: Final = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local interval, burst = 1 / tonumber(ARGV[1]), tonumber(ARGV[2])
local least, most = tonumber(ARGV[3]), tonumber(ARGV[4])
local stored, empty = tonumber(redis.call('GET', KEYS[1]) or '0') or 0, now + burst * interval
if not (stored <= empty) then -- only another limit or a foreign writer leaves such a number
    stored = empty
    redis.call('SET', KEYS[1], string.format('%.6f', stored), 'PX', math.ceil(burst * interval * 1000) + 1000)
end
local full = math.max(now, stored)
local wait = full + least * interval - burst * interval - now
if wait > 0.0000005 then return {0, string.format('%.6f', wait)} end
local given = math.min(most, math.max(least, math.floor(burst - (full - now) / interval + 0.000001)))
full = full + given * interval
redis.call('SET', KEYS[1], string.format('%.6f', full), 'PX', math.ceil((full - now) * 1000) + 1000)
return {given, '0'}
"""
# The sum, or nothing if the key holds something else than a number: every other error is the server's.
COUNT: Final = """
local sum = redis.pcall('INCRBY', KEYS[1], ARGV[1])
if type(sum) == 'table' and sum.err then
    for _, cause in ipairs({'WRONGTYPE', 'not an integer', 'overflow'}) do
        if string.find(sum.err, cause, 1, true) then return false end
    end
end
return sum
"""
ENTRY_BYTES: Final = 64
"""Bytes that each entry of a stream counts beyond its text."""
# One command and one answer for many entries. Each entry has the sum of bytes up to it, so the size of the stream is
# the difference of two entries: this needs no second key, and stays right if an operator trims or deletes the stream.
# Entries from older versions have no sum; they count as nothing, and go with the number of entries.
APPEND: Final = """
local most, limit, added = ARGV[1], tonumber(ARGV[2]), #ARGV - 2
local function sum(entries)
    local fields = entries[1] and entries[1][2] or {}
    for i = 1, #fields, 2 do if fields[i] == 'sum' then return tonumber(fields[i + 1]) or 0 end end
    return 0
end
local total = sum(redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', '1'))
for i = 3, #ARGV do
    total = total + #ARGV[i] + ENTRY_BYTES
    redis.call('XADD', KEYS[1], 'MAXLEN', '~', most, '*', 'event', ARGV[i], 'sum', string.format('%.0f', total))
end
for _ = 1, 2 * added + 16 do -- bounded: where the limit was lowered, a few with each call
    local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', '1')
    if not oldest[1] or total - sum(oldest) < limit then break end
    redis.call('XDEL', KEYS[1], oldest[1][1])
end
return added
""".replace("ENTRY_BYTES", str(ENTRY_BYTES))
# Drops the first entries of a stream that are older than a position, so many at most. The stream stays, even if it is
# empty: its last id stays with it, and later ones are greater.
DROP_BEFORE: Final = """
local gone = 0
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '(' .. ARGV[1], 'COUNT', ARGV[2])) do
    gone = gone + redis.call('XDEL', KEYS[1], entry[1])
end
return gone
"""
# A stream without a limit, which is kept for at least the given time after each call. Answers the number of entries.
APPEND_FOR: Final = """
for i = 2, #ARGV do redis.call('XADD', KEYS[1], '*', 'event', ARGV[i]) end
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return #ARGV - 1
"""
# The log of revocations: a stream that has one entry for each name, with the second of the server's clock until which
# it counts. Expired entries go a few with each call, in turns through the whole stream (KEYS[2] is the place of the
# last turn). A name has its entry's place under a key of its own, so that a repeated call adds nothing; a later or a
# longer revocation takes the place of the entry. Answers for each name the second of its entry; -1: the log is full.
REVOKE: Final = """
local now = tonumber(redis.call('TIME')[1])
local function field(entry, name)
    for i = 1, #entry[2], 2 do if entry[2][i] == name then return entry[2][i + 1] end end
    return nil
end
local function sweep(count)
    local entries = redis.call('XRANGE', KEYS[1], redis.call('GET', KEYS[2]) or '-', '+', 'COUNT', count)
    for _, entry in ipairs(entries) do
        if (tonumber(field(entry, 'till')) or 0) <= now then redis.call('XDEL', KEYS[1], entry[1]) end
    end
    if #entries < count then redis.call('DEL', KEYS[2]) else redis.call('SET', KEYS[2], entries[count][1]) end
end
sweep(64)
local answers, news = {}, 0
for i = 3, #KEYS do
    local at = 2 + 5 * (i - 3)
    local name, after, ends = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
    local till, most = now + tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
    local place = redis.call('GET', KEYS[i])
    local held = place and redis.call('XRANGE', KEYS[1], place, place)[1]
    local kept = false
    if held then
        local before, before_ends, held_name = string.match(field(held, 'event') or '', '^1 (%d+) (%d+) (.*)$')
        if held_name == name then
            kept = tonumber(before) >= after and tonumber(before_ends) >= ends
            after, ends = math.max(after, tonumber(before)), math.max(ends, tonumber(before_ends))
            till = math.max(till, tonumber(field(held, 'till')) or 0)
        end
        if not kept then redis.call('XDEL', KEYS[1], place) end
    elseif redis.call('XLEN', KEYS[1]) >= most then
        sweep(1024)
        if redis.call('XLEN', KEYS[1]) >= most then after = -1 end
    end
    if kept then
        redis.call('EXPIRE', KEYS[i], string.format('%.0f', math.max(1, till - now))) -- a write, to be confirmed
    elseif after >= 0 then
        local event = string.format('1 %.0f %.0f ', after, ends) .. name
        place = redis.call('XADD', KEYS[1], '*', 'event', event, 'till', string.format('%.0f', till))
        redis.call('SET', KEYS[i], place, 'EX', string.format('%.0f', math.max(1, till - now)))
        news = news + 1
    end
    answers[#answers + 1] = string.format('%.0f', after)
end
if news > 0 then redis.call('PUBLISH', ARGV[1], '') end
return answers
"""
# A group: one hash, each member with the time (ms, by the server's clock) until which it counts. A time further away
# than any member asks for was written before the server's clock was set back: it is cut, or a member that is gone would
# still count.
JOIN: Final = """
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local entries = redis.call('HGETALL', KEYS[1])
for i = 1, #entries, 2 do
    local till, value = string.match(entries[i + 1], '^(%d+) (.*)$')
    if tonumber(till) <= now then
        redis.call('HDEL', KEYS[1], entries[i])
    elseif tonumber(till) > now + 10 * tonumber(ARGV[2]) then
        redis.call('HSET', KEYS[1], entries[i], string.format('%d %s', now + tonumber(ARGV[2]), value))
    end
end
redis.call('HSET', KEYS[1], ARGV[1], string.format('%d %s', now + tonumber(ARGV[2]), ARGV[3]))
return 1
"""
MEMBERS: Final = """
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local entries, live = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #entries, 2 do
    local till, value = string.match(entries[i + 1], '^(%d+) (.*)$')
    if tonumber(till) > now then live[#live + 1] = entries[i]; live[#live + 1] = value end
end
return live
"""
# A lease: "FENCE UNTIL HOLDER". It outlives its end, so that its number only grows. An end that is too far away is cut
# as above.
LEASE: Final = """
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local fence, till, holder = string.match(redis.call('GET', KEYS[1]) or '0 0 ', '^(%d+) (%d+) (.*)$')
if tonumber(till) > now and holder ~= ARGV[1] then
    if tonumber(till) > now + 10 * tonumber(ARGV[2]) then
        redis.call('SET', KEYS[1], string.format('%d %d %s', fence, now + tonumber(ARGV[2]), holder))
    end
    return 0
end
if tonumber(till) <= now or tonumber(fence) < tonumber(ARGV[3]) then
    fence = math.max(tonumber(fence), tonumber(ARGV[3])) + 1
end
redis.call('SET', KEYS[1], string.format('%d %d %s', fence, now + tonumber(ARGV[2]), ARGV[1]))
return tonumber(fence)
"""
# A page of a stream: its newest entries, newest first, or those from a position on except that one. It ends before a
# limit of entries or bytes, but has one entry at least. Then: whether there are later entries, whether the stream has
# an entry at the position or before it, and its last position.
READ_STREAM: Final = """
local from, last, most, limit = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local page, size, more, place = {}, 0, 0, from == '' and (last == '' and '+' or last) or from
local bottom = ARGV[6] == '' and '-' or ARGV[6]
local function take(entry)
    local text = ''
    for i = 1, #entry[2], 2 do if entry[2][i] == 'event' then text = entry[2][i + 1] end end
    if #text > tonumber(ARGV[5]) then text = '' end -- a foreign entry
    if #page >= 2 * most or (#page > 0 and size + #text > limit) then return 0 end
    page[#page + 1], page[#page + 2], size = entry[1], text, size + #text
    return 1
end
repeat
    local entries, new
    if from == '' then entries = redis.call('XREVRANGE', KEYS[1], place, bottom, 'COUNT', '33')
    else entries = redis.call('XRANGE', KEYS[1], place, '+', 'COUNT', '33') end
    new = 0
    for _, entry in ipairs(entries) do
        if entry[1] ~= last and entry[1] ~= bottom and more == 0 then
            if take(entry) == 1 then last, place, new = entry[1], entry[1], new + 1 else more = 1 end
        end
    end
until new == 0 or more == 1
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', '1')
local before = from ~= '' and redis.call('XREVRANGE', KEYS[1], from, '-', 'COUNT', '1') or {}
return {page, more, #before, newest[1] and newest[1][1] or ''}
"""
