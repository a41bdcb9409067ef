-- Asks tokenmint about a request: passes it on with tokenmint's headers, or answers with tokenmint's refusal.
--
-- An answer is kept for as long as its cache-control says, under the SHA-256 of the parts of the request that decide it.
-- There is one question at a time for each key.

local SECRET = os.getenv("TOKENMINT_CLIENT_SECRET") or error("TOKENMINT_CLIENT_SECRET is not set")
local DECIDE = { "authorization", "cookie" } -- and each of tokenmint's gateway.headers
local SET = { "authorization", "cookie", "x-tokenmint-principal", "x-tokenmint-scope" }
local MOST = 10000 -- answers
local PATIENCE = 2000 -- milliseconds

local function alike(name)
    return (name:lower():gsub("[^%w]", "-"))
end

local DECIDES = {}
for _, name in ipairs(DECIDE) do
    DECIDES[alike(name)] = true
end

-- Headers that a client has no business with, and those that may hold its token, in every spelling that servers behind
-- may read as one of them.
local function is_foreign(name)
    local read = alike(name)
    return read:find("^x%-tokenmint%-") ~= nil or read:find("^tokenmint%-") ~= nil or DECIDES[read] ~= nil
end

local kept, count = {}, 0
local asking = {}

local function now()
    local at = core.now()
    return at.sec + at.usec / 1000000
end

local function keep(key, answer, ends)
    if count >= MOST then -- those that have ended make room, or else all
        local at = now()
        for other, one in pairs(kept) do
            if one.ends <= at then
                kept[other] = nil
                count = count - 1
            end
        end
        if count >= MOST then
            kept, count = {}, 0
        end
    end
    if kept[key] == nil then
        count = count + 1
    end
    answer.ends = ends
    kept[key] = answer
end

local function ask(url, seen, host)
    local headers = {
        ["tokenmint-client-id"] = { "gateway" },
        ["tokenmint-client-secret"] = { SECRET },
        ["x-forwarded-host"] = { host },
    }
    for name, values in pairs(seen) do
        headers[name] = values
    end
    local got = core.httpclient():get({ url = url, headers = headers, timeout = PATIENCE })
    if got == nil or got.status == nil or got.status == 0 then
        return { status = 503, body = "", headers = {} }
    end
    local answer = { status = got.status, body = got.body or "", headers = {} }
    for name, values in pairs(got.headers or {}) do
        answer.headers[name:lower()] = values[0] or values[1]
    end
    return answer
end

core.register_action("tokenmint", { "http-req" }, function(txn, url)
    local given = txn.http:req_get_headers()
    local host = given["host"] and given["host"][0] or ""
    local seen, parts = {}, { url, host }
    for _, name in ipairs(DECIDE) do
        seen[name] = {}
        for at = 0, 16 do
            if given[name] == nil or given[name][at] == nil then
                break
            end
            seen[name][at + 1] = given[name][at]
            parts[#parts + 1] = name .. " " .. #given[name][at] .. " " .. given[name][at]
        end
    end
    local key = txn.c:hex(txn.c:sha2(table.concat(parts, "\n"), 256))
    local began = now()
    while asking[key] and now() - began < PATIENCE / 1000 do
        core.msleep(2)
    end
    local answer = kept[key]
    if answer == nil or answer.ends <= now() then
        asking[key] = true
        local asked = now() -- the time counts from here: the answer is as old as its question at most
        local asks, got = pcall(ask, url, seen, host)
        asking[key] = nil
        answer = asks and got or { status = 503, body = "", headers = {} }
        local seconds = tonumber((answer.headers["cache-control"] or ""):match("max%-age=(%d+)") or 0)
        if answer.status == 200 and seconds > 0 then
            keep(key, answer, asked + seconds)
        end
    end
    if answer.status ~= 200 then
        local reply = txn:reply({ status = answer.status, body = answer.body })
        for _, name in ipairs({ "content-type", "www-authenticate", "retry-after", "cache-control" }) do
            if answer.headers[name] then
                reply:add_header(name, answer.headers[name])
            end
        end
        txn:done(reply)
        return
    end
    for name in pairs(given) do
        if is_foreign(name) then
            txn.http:req_del_header(name)
        end
    end
    for _, name in ipairs(SET) do -- each takes the place of the client's
        txn.http:req_del_header(name)
        if answer.headers[name] and answer.headers[name] ~= "" then
            txn.http:req_set_header(name, answer.headers[name])
        end
    end
    txn:set_var("txn.tokenmint", "passed") -- last: a fault before it lets nothing pass
end, 1)
