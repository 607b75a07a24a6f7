-- Kinds of polls, prepended after `prelude.lua`. domain/poll_kinds.py has the same for SQL.
-- choices: positions of options, as a ballot stores them. wanted: option ids, as a client sends them.
local KINDS = {
  choice = {
    -- The choices of a ballot that is not a retraction, or nil and the error code of the contract.
    validate = function(poll, wanted)
      names(poll)
      local rules, choices = poll.rules, {}
      for i, name in ipairs(wanted) do
        choices[i] = poll.index[name]
        if not choices[i] then return nil, 'INVALID_OPTION' end
      end
      if #choices < rules.min_choices or #choices > rules.max_choices then return nil, 'INVALID_CHOICE_COUNT' end
      return choices
    end,

    -- Whether two ballots with one id say the same.
    same = function(poll, choices, wanted)
      if #choices ~= #wanted then return false end
      local first = {}
      for _, position in ipairs(choices) do first[position] = true end
      names(poll)
      for _, name in ipairs(wanted) do
        if not first[poll.index[name]] then return false end
      end
      return true
    end,

    -- Adds the votes of n voters to totals: by option id, with the number of voters as `voters`.
    totals = function(poll, choices, n, totals)
      if #choices == 0 then return end
      local known = names(poll)
      for _, position in ipairs(choices) do
        local name = known[position]
        totals[name] = (totals[name] or 0) + n
      end
      totals.voters = (totals.voters or 0) + n
    end,
  },
}
