// SPDX-License-Identifier: MIT
using System.Globalization;
using Ksplice.Build.Matching;
using Ksplice.Build.Matching.Interpreter;

namespace Ksplice.Build.Tests.Matching;

/// <summary>Vectors that begin with the same setting; each is the setting with one thing changed, and says what must come of it.</summary>
internal sealed class VectorGroup
{
    private readonly string _about;
    private readonly Enum[] _tokens;
    private readonly Action<VectorSetting> _begin;

    private VectorGroup(string about, Enum[] tokens, Action<VectorSetting> begin) => (_about, _tokens, _begin) = (about, tokens, begin);

    /// <summary>A group without vectors yet.</summary>
    /// <param name="about">What it is about.</param>
    /// <param name="tokens">What of the format that is.</param>
    /// <param name="begin">What all have.</param>
    public static VectorGroup Of(string about, Enum[] tokens, Action<VectorSetting> begin) => new(about, tokens, begin);

    public List<MatchVector> Vectors { get; } = [];

    /// <summary>Adds a vector that matches.</summary>
    /// <param name="name">What is so in it.</param>
    /// <param name="change">What is so in it, done to the setting.</param>
    /// <param name="values">Where the exports must be found.</param>
    public VectorGroup Accepts(string name, Action<VectorSetting> change, params ulong[] values)
    {
        var (vector, result) = Make(name, change, MatchReason.Matched);
        if (!result.IsMatch || (values.Length != 0 && !result.Exports.SequenceEqual(values)))
            throw new InvalidOperationException($"{vector.Name}: must match, but is '{vector.Result}'");
        Vectors.Add(vector);
        return this;
    }

    /// <summary>Adds a vector that does not match.</summary>
    /// <param name="name">What is so in it.</param>
    /// <param name="change">What is so in it, done to the setting.</param>
    /// <param name="reason">Why it must not match.</param>
    /// <param name="address">Where it must differ; 0 if it has no such place.</param>
    public VectorGroup Refuses(string name, Action<VectorSetting> change, MatchReason reason, ulong address = 0)
    {
        var (vector, result) = Make(name, change, reason);
        if (result.Failure is not { } failure || failure.Reason != reason || failure.Address != address)
            throw new InvalidOperationException(
                string.Create(CultureInfo.InvariantCulture, $"{vector.Name}: must be {reason} at {address:x}, but is '{vector.Result}'")
            );
        Vectors.Add(vector);
        return this;
    }

    private (MatchVector, MatchResult) Make(string name, Action<VectorSetting> change, MatchReason reason)
    {
        VectorSetting setting = new();
        _begin(setting);
        change(setting);
        byte[] data = setting.ToBytes();
        var result = MatchInterpreter.Match(data, setting.Memory);
        string[] all = [.. _tokens.Append(reason).Select(token => $"{token.GetType().Name}.{token}")];
        return (new MatchVector($"{_about}: {name}", all, setting.Memory, data, DumpedKernel.Show(result)), result);
    }
}
