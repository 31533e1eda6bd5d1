// SPDX-License-Identifier: MIT
using Microsoft.Build.Logging.StructuredLogger;

namespace Ksplice.Tasks.Tests;

/// <summary>What a binary log says of the stages.</summary>
internal sealed class BuildLog
{
    private readonly Microsoft.Build.Logging.StructuredLogger.Build _build;

    public BuildLog(BuildResult result) => _build = BinaryLog.ReadBuild(result.BinaryLog);

    /// <summary>The names of the Sdk's targets that ran tasks.</summary>
    public IReadOnlyList<string> Ran =>
        [
            .. _build
                .FindChildrenRecursive<Target>(target =>
                    target.Name.StartsWith("Ksplice", StringComparison.Ordinal)
                    && target.Children.OfType<Microsoft.Build.Logging.StructuredLogger.Task>().Any()
                )
                .Select(target => target.Name)
                .Distinct(),
        ];

    /// <summary>Why each unit was compiled: the messages of the compile task.</summary>
    public IReadOnlyList<string> Compiled => Messages("compiling ");

    /// <summary>The errors.</summary>
    public IReadOnlyList<(string Id, string Message)> Errors =>
        [.. _build.FindChildrenRecursive<Error>().Select(error => (error.Code, error.Text))];

    /// <summary>The warnings.</summary>
    public IReadOnlyList<(string Id, string Message)> Warnings =>
        [.. _build.FindChildrenRecursive<Warning>().Select(warning => (warning.Code, warning.Text))];

    /// <summary>The messages that begin so.</summary>
    public IReadOnlyList<string> Messages(string start) =>
        [
            .. _build
                .FindChildrenRecursive<Message>(message => message.Text.StartsWith(start, StringComparison.Ordinal))
                .Select(message => message.Text),
        ];
}
