// SPDX-License-Identifier: MIT
using System.Reflection;
using Ksplice.Build.Diagnostics;

namespace Ksplice.Tasks;

/// <summary>The engine's rules.</summary>
internal static class Rules
{
    /// <summary>All of them.</summary>
    public static IReadOnlyList<DiagnosticDescriptor> All { get; } =
    [
        .. typeof(DiagnosticDescriptor)
            .Assembly.GetExportedTypes()
            .SelectMany(type => type.GetFields(BindingFlags.Static | BindingFlags.Public | BindingFlags.DeclaredOnly))
            .Where(field => field.FieldType == typeof(DiagnosticDescriptor))
            .Select(field => (DiagnosticDescriptor)field.GetValue(null)!),
    ];
}
