// SPDX-License-Identifier: MIT
using System.Globalization;

namespace Ksplice.Build.Reporting;

/// <summary>Words in sentences for people.</summary>
public static class Words
{
    /// <summary>A number of things: <c>1 function</c>, <c>2 functions</c>.</summary>
    public static string Count(long number, string one, string? several = null) =>
        string.Create(CultureInfo.InvariantCulture, $"{number} {(number == 1 ? one : several ?? one + "s")}");
}
